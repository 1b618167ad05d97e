#include "doctor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "base/thread.h"
#include "commands.h"
#include "hub.h"
#include "info.h"
#include "machine.h"

struct doctor_options {
  bool json;
  const char *device;
  int threads;
  double seconds;
};

static const int64_t least_memory = 512LL << 20, least_disk = 100LL << 20; /* for the demo */

static void add_lack(struct doctor *d, const char *what, const char *package) {
  if (d->lacks < MAX_LACKS) d->lack[d->lacks++] = (struct doctor_lack){what, package};
}

static void add_problem(struct doctor *d, const char *text) {
  if (d->problems < MAX_LACKS) d->problem[d->problems++] = text ? text : "out of memory";
}

static void look_at_machine(struct doctor *d) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  cpu_name(d->cpu, sizeof d->cpu);
  machine_simd(d->simd, sizeof d->simd);
  d->cores = machine_cores();
  d->quota = machine_quota();
  d->physical = machine_physical_memory();
  d->memory = (int64_t)machine_memory();
  d->available = (int64_t)machine_memory_available();
  if (cache && *cache == '/') {
    text_put(d->cache, sizeof d->cache, "%s/pdmbooth-tui", cache);
  } else {
    text_put(d->cache, sizeof d->cache, "%s/.cache/pdmbooth-tui", home ? home : "");
  }
  d->disk_here = machine_disk_free(".");
  d->disk_cache = machine_disk_free(d->cache);
  gpu_look(&d->gpu);
  terminal_look(&d->terminal);
  if (access(".", W_OK | X_OK)) add_problem(d, "the current directory cannot be written, and runs/ would be made here");
  if (d->disk_here >= 0 && d->disk_here < least_disk) add_problem(d, "less than 100 MiB are free on the disk of the current directory");
  if (d->available < least_memory) add_problem(d, "less than 512 MiB of memory are free");
}

/* Which engine runs, how fast, and why the CUDA one does not. */
static void look_at_engine(struct doctor *d, const struct doctor_options *o) {
  struct err e = {0};
  char text[256];
  double rate = 0;
  if (!engine_try_device(o->device ? o->device : "auto", o->threads, o->seconds, d->device, sizeof d->device, &d->rate, &e))
    add_problem(d, strings_printf(&d->owner, "the engine does not run: %s", e.text));
  engine_try_device("cuda", 0, 0, text, sizeof text, &rate, &d->cuda);
}

static void check_model(struct doctor_model *m) {
  if (!m->error.code) engine_check_model(m->path, embedded_files, &m->facts, &m->error);
}

/* The model inside the program, then what the cache holds. */
static bool look_at_models(struct doctor *d) {
  int n = 0;
  const char **name = hub_list(&d->owner, d->hub, sizeof d->hub, &n);
  d->model = calloc((size_t)n + 1, sizeof *d->model);
  if (!name || !d->model) {
    free(name);
    return false;
  }
  d->model[0] = (struct doctor_model){.name = "embedded", .path = "embedded"};
  for (int i = 0; i < n; i++) {
    struct doctor_model *m = &d->model[i + 1];
    m->name = name[i];
    m->path = model_resolve(name[i], ".", &d->owner, &m->error);
    if (!m->path) m->path = "";
  }
  d->models = n + 1;
  for (int i = 0; i < d->models; i++) check_model(&d->model[i]);
  free(name);
  if (d->model[0].error.code)
    add_problem(d, strings_printf(&d->owner, "the model inside the program does not load: %s", d->model[0].error.text));
  return true;
}

static void find_lacks(struct doctor *d) {
  bool nvidia = false;
  for (int i = 0; i < d->gpu.n; i++) nvidia |= d->gpu.gpu[i].nvidia;
  if (!strstr(d->device, "oneDNN") && !strncmp(d->device, "cpu", 3))
    add_lack(d, "oneDNN, which makes the CPU engine several times faster; build again with it", "libdnnl-dev");
  if (nvidia && !*d->gpu.driver && !d->gpu.cuda) add_lack(d, "NVIDIA's driver for the graphics card", "nvidia-driver");
  if (nvidia && !*d->gpu.cublas) add_lack(d, "cuBLAS, for the CUDA engine", "nvidia-cuda-toolkit");
  if (nvidia && !*d->gpu.cudnn) add_lack(d, "cuDNN, for the CUDA engine", "nvidia-cudnn");
  if (d->models == 1) add_lack(d, "a Stable Diffusion model in the Hugging Face cache; any diffusers directory serves as well", "");
  if (d->terminal.there && !d->terminal.sixel) add_lack(d, "a terminal that draws pictures (sixel), such as foot or mlterm", "foot");
}

static int doctor_main(void *options, int operands, char **operand) {
  const struct doctor_options *o = options;
  struct err e = {0};
  struct doctor *d = calloc(1, sizeof *d);
  bool ok = d != NULL;
  if (operands) {
    err_set(&e, ERR_USAGE, "doctor takes no operands, and %s is one", operand[0]);
  } else if (ok) {
    look_at_machine(d);
    look_at_engine(d, o);
    ok = look_at_models(d);
    find_lacks(d);
    if (ok && o->json) ok = doctor_print_json(d, stdout);
    if (ok && !o->json) doctor_print(d, stdout);
  }
  if (!ok) err_set(&e, ERR_FAILED, "out of memory");
  int status = e.code ? say_error(&e) : d->problems ? ERR_FIT : 0;
  if (d) strings_release(&d->owner);
  if (d) free(d->model);
  free(d);
  return status;
}

#define AT(field) .offset = offsetof(struct doctor_options, field)

static const struct option_spec doctor_table[] = {
    {"json", NULL, "print one JSON object", OPTION_FLAG, AT(json)},
    {"device", NULL, "try this engine (default auto: what a run would take)", OPTION_NAME, AT(device), .words = device_words,
     .accepts = engine_device_is_known},
    {"threads", "N", "threads to compute with", OPTION_WHOLE, AT(threads), 1, 4096},
    {"seconds", "X", "how long to measure (default 1)", OPTION_NUMBER, AT(seconds), 0, 60},
    {0},
};

const struct command_spec doctor_command = {
    .name = "doctor",
    .operands = "",
    .summary = "say what this machine has, what would run and what is missing",
    .about =
        "Looks at processor, memory, disk, graphics card, terminal and the models in the Hugging Face cache (whether each could be used), "
        "runs the "
        "engine for a second, and names what is missing with its Debian package. Writes nothing. The exit status is 0 where runs can work, "
        "else 4.",
    .options = doctor_table,
    .options_size = sizeof(struct doctor_options),
    .defaults = &(const struct doctor_options){.seconds = 1},
    .run = doctor_main,
};
