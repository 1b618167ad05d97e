#include "progress_json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* An object {"event": name}; NULL: out of memory, which every function of cJSON takes. */
static cJSON *begin(const char *name) {
  cJSON *o = cJSON_CreateObject();
  cJSON_AddStringToObject(o, "event", name);
  return o;
}

/* One write for the line, so that nothing comes between. */
static void end(cJSON *o) {
  char *text = o ? cJSON_PrintUnformatted(o) : NULL;
  if (text) fprintf(stderr, "%s\n", text);
  free(text);
  cJSON_Delete(o);
}

static void add_number(cJSON *o, const char *name, double v) {
  if (isfinite(v)) {
    cJSON_AddNumberToObject(o, name, v);
  } else {
    cJSON_AddNullToObject(o, name);
  }
}

void json_progress(const char *stage, int64_t done, int64_t total, double rate) {
  cJSON *o = begin("progress");
  cJSON_AddStringToObject(o, "stage", stage);
  add_number(o, "done", (double)done);
  add_number(o, "total", (double)total);
  add_number(o, "rate", rate > 0 ? rate : NAN);
  add_number(o, "seconds_left", done >= total ? 0 : rate > 0 ? (double)(total - done) / rate : NAN);
  end(o);
}

void json_log(enum log_level level, const char *text) {
  cJSON *o = begin("log");
  cJSON_AddStringToObject(o, "level", level == LOG_WARN ? "warning" : "info");
  cJSON_AddStringToObject(o, "text", text);
  end(o);
}

void json_metrics(const struct metrics *m) {
  cJSON *o = begin("metrics");
  add_number(o, "step", m->step);
  add_number(o, "instance", m->instance);
  add_number(o, "prior", m->prior);
  add_number(o, "pdm", m->pdm);
  add_number(o, "total", m->total);
  add_number(o, "lr", m->lr);
  add_number(o, "grad_norm", m->grad_norm);
  add_number(o, "seconds", m->seconds);
  add_number(o, "probe", m->probe);
  end(o);
}

void json_sample(const struct sample_event *s, const char *path) {
  char seed[24];
  snprintf(seed, sizeof seed, "%llu", (unsigned long long)s->seed);
  cJSON *o = begin("sample");
  add_number(o, "step", s->step);
  add_number(o, "prompt_index", s->prompt_index);
  add_number(o, "picture_index", s->picture_index);
  cJSON_AddStringToObject(o, "prompt", s->prompt);
  cJSON_AddRawToObject(o, "seed", seed); /* a double does not hold every seed */
  cJSON_AddStringToObject(o, "path", path);
  end(o);
}

void json_checkpoint(int step, const char *path, bool final) {
  cJSON *o = begin("checkpoint");
  add_number(o, "step", step);
  cJSON_AddStringToObject(o, "path", path);
  cJSON_AddBoolToObject(o, "final", final);
  end(o);
}

void json_error(const struct err *e) {
  cJSON *o = begin("error");
  add_number(o, "exit_code", e->code);
  cJSON_AddStringToObject(o, "text", e->text);
  end(o);
}
