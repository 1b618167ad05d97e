#include "plan_text.h"

#include <cjson/cJSON.h>
#include <math.h>

#include "formats/json_add.h"
#include "text.h"

const char *duration_text(double s, char *buf, size_t n) {
  if (s >= 3600 * 48) {
    text_put(buf, n, "%.1f days", s / 86400);
  } else if (s >= 3600) {
    text_put(buf, n, "%.1f hours", s / 3600);
  } else if (s >= 60) {
    text_put(buf, n, "%.1f minutes", s / 60);
  } else {
    text_put(buf, n, "%.1f s", s);
  }
  return buf;
}

const char *bytes_text(int64_t bytes, char *buf, size_t n) {
  double b = (double)bytes;
  if (b >= 1 << 30) {
    text_put(buf, n, "%.2f GiB", b / (1 << 30));
  } else if (b >= 1 << 20) {
    text_put(buf, n, "%.1f MiB", b / (1 << 20));
  } else {
    text_put(buf, n, "%.0f KiB", ceil(b / 1024));
  }
  return buf;
}

/* --- text ------------------------------------------------------------------------------------------------------------------------------- */

/* The memory that the run computes in, and the machine's where that is a card's. */
static void print_head(const struct run_plan *p, FILE *out) {
  fprintf(out, "%-14s %8s %12s", "stage", "units", p->card ? "card" : "memory");
  if (p->card) fprintf(out, " %12s", "machine");
  fprintf(out, " %12s %14s\n", "disk", "time");
}

static void print_stage(const struct plan_stage *s, bool card, FILE *out) {
  char memory[32], host[32], disk[32] = "", time[32];
  if (s->units == 0) return;
  if (s->disk > 0) bytes_text(s->disk, disk, sizeof disk);
  fprintf(out, "%-14s %8lld %12s", s->name, (long long)s->units, bytes_text(s->memory, memory, sizeof memory));
  if (card) fprintf(out, " %12s", bytes_text(s->host, host, sizeof host));
  fprintf(out, " %12s %14s\n", disk, duration_text(s->seconds, time, sizeof time));
}

static void print_host(const struct run_plan *p, FILE *out) {
  char context[32], peak[32], available[32], machine[32], process[32], buffers[32], weights[32], state[32];
  fprintf(out, "  beside them %s were taken of the card by its driver, libraries and other programs\n",
          bytes_text(p->context, context, sizeof context));
  fprintf(out, "memory of the machine: %s at the peak; %s of %s free now\n  process %s, pictures and rows %s",
          bytes_text(p->host_memory, peak, sizeof peak), bytes_text(p->host_available, available, sizeof available),
          bytes_text(p->host_machine, machine, sizeof machine), bytes_text(p->host_process, process, sizeof process),
          bytes_text(p->buffers, buffers, sizeof buffers));
  if (p->offloaded)
    fprintf(out, ", offloaded weights %s, gradients, moments and averages %s", bytes_text(p->home, weights, sizeof weights),
            bytes_text(p->away, state, sizeof state));
  fputc('\n', out);
}

static void print_memory(const struct run_plan *p, FILE *out) {
  const struct {
    const char *name;
    int64_t bytes;
  } part[] = {{p->card ? "engine" : "process", p->process},
              {"weights", p->weights},
              {"packed weights", p->packed},
              {"gradients", p->gradients},
              {"moments", p->moments},
              {"averages", p->averaged},
              {"with the host: weights", p->card ? 0 : p->home},
              {"with the host: gradients, moments and averages", p->card ? 0 : p->away},
              {"passes", p->work},
              {"scratch", p->scratch},
              {"pictures and rows", p->card ? 0 : p->buffers}};
  char peak[32], allowed[32], free_now[32], machine[32], text[32];
  fprintf(out, "\nmemory%s: %s at the peak; %s allowed, %s of %s free now\n", p->card ? " of the card" : "",
          bytes_text(p->memory, peak, sizeof peak), bytes_text(p->allowed, allowed, sizeof allowed),
          bytes_text(p->available, free_now, sizeof free_now), bytes_text(p->machine, machine, sizeof machine));
  const char *comma = "  ";
  for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
    if (part[i].bytes == 0) continue;
    fprintf(out, "%s%s %s", comma, part[i].name, bytes_text(part[i].bytes, text, sizeof text));
    comma = ", ";
  }
  fputc('\n', out);
  if (p->card) print_host(p, out);
}

static const char *moments_name(const struct run_plan *p) {
  static const char *const name[] = {[MOMENTS_FP32] = "fp32", [MOMENTS_BF16] = "bf16", [MOMENTS_8BIT] = "8bit"};
  return name[p->moments_kind];
}

static void print_decisions(const struct run_plan *p, FILE *out) {
  if (p->recomputed > 0) fprintf(out, "computed again in the backward pass: %d of the UNet's %d blocks\n", p->recomputed, p->blocks);
  fprintf(out, "pictures at once: samples %d, class images %d, inversion %d; moments in %s%s\n", p->samples_batch, p->prior_batch,
          p->pdm_batch, moments_name(p), p->replanned ? "; planned anew to fit" : "");
  if (p->waits) fprintf(out, "more than is free now: --batch --wait-memory starts when it is\n");
}

void plan_print(const struct run_plan *p, FILE *out) {
  char text[32], needed[32];
  print_head(p, out);
  for (int i = 0; i < PLAN_STAGES; i++) print_stage(p->stage + i, p->card, out);
  print_memory(p, out);
  print_decisions(p, out);
  for (int i = 0; i < p->places; i++) {
    fprintf(out, "disk: up to %s below %s (%s), %s free\n", bytes_text(p->place[i].needed, needed, sizeof needed), p->place[i].path,
            p->place[i].what, bytes_text(p->place[i].available, text, sizeof text));
  }
  fprintf(out, "time: %s (%s)\n", duration_text(p->seconds, text, sizeof text),
          p->measured ? "measured operations" : "estimated; --measure times the model's own shapes");
}

/* --- JSON ------------------------------------------------------------------------------------------------------------------------------- */

static void number(cJSON *o, const char *name, double v) {
  cJSON_AddNumberToObject(o, name, v);
}

/* What the run takes of a memory, and what there is of it. */
static cJSON *limits(cJSON *root, const char *name, int64_t peak, int64_t allowed, int64_t machine, int64_t available) {
  cJSON *o = cJSON_AddObjectToObject(root, name);
  number(o, "peak", (double)peak);
  number(o, "allowed", (double)allowed);
  number(o, "machine", (double)machine);
  number(o, "available", (double)available);
  return o;
}

static void add_host(cJSON *root, const struct run_plan *p) {
  cJSON *o = limits(root, "host_memory", p->host_memory, p->host_allowed, p->host_machine, p->host_available);
  number(o, "process", (double)p->host_process);
  number(o, "host_weights", (double)p->home);
  number(o, "host_state", (double)p->away);
  number(o, "buffers", (double)p->buffers);
}

static void add_memory(cJSON *root, const struct run_plan *p) {
  cJSON *o = limits(root, "memory", p->memory, p->allowed, p->machine, p->available);
  number(o, "process", (double)p->process);
  number(o, "weights", (double)p->weights);
  number(o, "packed", (double)p->packed);
  number(o, "gradients", (double)p->gradients);
  number(o, "moments", (double)p->moments);
  number(o, "averages", (double)p->averaged);
  if (!p->card) number(o, "host_weights", (double)p->home);
  if (!p->card) number(o, "host_state", (double)p->away);
  number(o, "scratch", (double)p->scratch);
  number(o, "passes", (double)p->work);
  if (p->card)
    number(o, "context", (double)p->context);
  else
    number(o, "buffers", (double)p->buffers);
  cJSON_AddStringToObject(o, "of", p->card ? "card" : "process");
}

static void add_stages(cJSON *root, const struct run_plan *p) {
  cJSON *list = cJSON_AddArrayToObject(root, "stages");
  for (int i = 0; list && i < PLAN_STAGES; i++) {
    const struct plan_stage *s = p->stage + i;
    cJSON *o = s->name ? cJSON_CreateObject() : NULL;
    if (!json_append(list, o)) continue;
    cJSON_AddStringToObject(o, "name", s->name);
    number(o, "units", (double)s->units);
    number(o, "memory", (double)s->memory);
    number(o, "passes", (double)s->work);
    if (p->card) number(o, "host_memory", (double)s->host);
    number(o, "disk", (double)s->disk);
    number(o, "seconds", round(s->seconds * 1000) / 1000);
  }
}

static void add_decisions(cJSON *root, const struct run_plan *p) {
  cJSON *o = cJSON_AddObjectToObject(root, "decisions");
  number(o, "blocks", p->blocks);
  number(o, "recomputed", p->recomputed);
  number(o, "samples_batch", p->samples_batch);
  number(o, "prior_batch", p->prior_batch);
  number(o, "pdm_batch", p->pdm_batch);
  cJSON_AddBoolToObject(o, "offloaded", p->offloaded);
  cJSON_AddStringToObject(o, "moments", moments_name(p));
  cJSON_AddBoolToObject(o, "replanned", p->replanned);
  cJSON_AddBoolToObject(o, "waits", p->waits);
}

static void add_disk(cJSON *root, const struct run_plan *p) {
  cJSON *o = cJSON_AddObjectToObject(root, "disk"), *list = cJSON_AddArrayToObject(o, "places");
  number(o, "left", (double)p->left);
  for (int i = 0; list && i < p->places; i++) {
    cJSON *place = cJSON_CreateObject();
    if (!json_append(list, place)) continue;
    cJSON_AddStringToObject(place, "what", p->place[i].what);
    cJSON_AddStringToObject(place, "path", p->place[i].path);
    number(place, "needed", (double)p->place[i].needed);
    number(place, "available", (double)p->place[i].available);
  }
}

char *plan_json(const struct run_plan *p, const struct err *e) {
  cJSON *root = cJSON_CreateObject();
  cJSON_AddStringToObject(root, "status", e->code ? e->code == ERR_FIT ? "does not fit" : "failed" : "fits");
  cJSON_AddNumberToObject(root, "exit_code", e->code);
  if (e->code) cJSON_AddStringToObject(root, "error", e->text);
  if (p->memory > 0) {
    add_memory(root, p);
    if (p->card) add_host(root, p);
    add_stages(root, p);
    add_decisions(root, p);
    add_disk(root, p);
    number(root, "seconds", round(p->seconds * 1000) / 1000);
    number(root, "tflop", round(p->flops * 1e-9) * 1e-3);
    cJSON_AddBoolToObject(root, "measured", p->measured);
  }
  char *text = cJSON_PrintUnformatted(root);
  cJSON_Delete(root);
  return text;
}
