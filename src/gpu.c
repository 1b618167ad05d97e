#include "gpu.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/source.h"
#include "text.h"

static bool read_line(const char *path, char *out, size_t n) {
  FILE *f = fopen(path, "r");
  bool ok = f && fgets(out, (int)n, f);
  if (f) fclose(f);
  if (ok) out[strcspn(out, "\n")] = 0;
  return ok;
}

static unsigned read_hex(const char *dir, const char *name) {
  char path[400], text[32];
  text_put(path, sizeof path, "%s/%s", dir, name);
  return read_line(path, text, sizeof text) ? (unsigned)strtoul(text, NULL, 16) : 0;
}

static struct gpu unknown(bool nvidia) {
  return (struct gpu){.nvidia = nvidia, .free = -1, .temperature = -1, .load = -1, .ecc = -1};
}

/* Display controllers (PCI class 03) on the bus. */
static void list_cards(struct gpu_facts *f) {
  static const char bus[] = "/sys/bus/pci/devices";
  char dir[320];
  DIR *d = opendir(bus);
  for (struct dirent *entry; d && f->n < MAX_GPUS && (entry = readdir(d));) {
    if (entry->d_name[0] == '.' || !text_put(dir, sizeof dir, "%s/%s", bus, entry->d_name) || read_hex(dir, "class") >> 16 != 3) continue;
    unsigned vendor = read_hex(dir, "vendor");
    const char *name = vendor == 0x10de ? "NVIDIA" : vendor == 0x1002 ? "AMD" : vendor == 0x8086 ? "Intel" : "other";
    struct gpu *g = &f->gpu[f->n++];
    *g = unknown(vendor == 0x10de);
    text_put(g->name, sizeof g->name, "%s [%04x:%04x]", name, vendor, read_hex(dir, "device"));
  }
  if (d) closedir(d);
}

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  ...": the first word that is a version. */
static void read_driver(struct gpu_facts *f) {
  char line[256];
  if (!read_line("/proc/driver/nvidia/version", line, sizeof line)) return;
  for (char *save, *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
    if (strspn(word, "0123456789.") != strlen(word) || !strchr(word, '.')) continue;
    text_put(f->driver, sizeof f->driver, "%s", word);
    return;
  }
  text_put(f->driver, sizeof f->driver, "loaded");
}

/* The few functions of the CUDA driver API that are needed; 0 is success. */
typedef int (*cuda_init)(unsigned flags);
typedef int (*cuda_int)(int *out);
typedef int (*cuda_device)(int *out, int ordinal);
typedef int (*cuda_name)(char *out, int n, int device);
typedef int (*cuda_memory)(size_t *out, int device);

/* A function's address through an integer: C has no cast from an object pointer. */
#define FUNCTION(type, library, name) ((type)(uintptr_t)dlsym(library, name))

/* NVIDIA's cards are about to be listed anew: what the bus says of them goes. */
static void drop_nvidia(struct gpu_facts *f) {
  int others = 0;
  for (int i = 0; i < f->n; i++) {
    if (!f->gpu[i].nvidia) f->gpu[others++] = f->gpu[i];
  }
  f->n = others;
}

static void take_devices(struct gpu_facts *f, void *cuda) {
  cuda_int count = FUNCTION(cuda_int, cuda, "cuDeviceGetCount");
  cuda_device get = FUNCTION(cuda_device, cuda, "cuDeviceGet");
  cuda_name name = FUNCTION(cuda_name, cuda, "cuDeviceGetName");
  cuda_memory memory = FUNCTION(cuda_memory, cuda, "cuDeviceTotalMem_v2");
  int n = 0, device;
  if (!count || !get || !name || !memory || count(&n) || n < 1) return;
  drop_nvidia(f);
  for (int i = 0; i < n && f->n < MAX_GPUS; i++) {
    struct gpu *g = &f->gpu[f->n];
    size_t bytes = 0;
    *g = unknown(true);
    if (get(&device, i) || name(g->name, (int)sizeof g->name, device)) continue;
    if (!memory(&bytes, device)) g->memory = (int64_t)bytes;
    f->n++;
  }
}

static void ask_driver(struct gpu_facts *f) {
  void *cuda = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  cuda_init init = cuda ? FUNCTION(cuda_init, cuda, "cuInit") : NULL;
  cuda_int version = cuda ? FUNCTION(cuda_int, cuda, "cuDriverGetVersion") : NULL;
  if (version && version(&f->cuda)) f->cuda = 0;
  if (init && !init(0)) take_devices(f, cuda);
  if (cuda) dlclose(cuda);
}

/* --- NVML: what nvidia-smi shows. 0 is success; a card is a pointer --------------------------------------------------------------------- */

struct nvml_memory {
  unsigned long long total, free, used;
};
struct nvml_load {
  unsigned gpu, memory;
};

struct nvml {
  int (*init)(void);
  int (*shutdown)(void);
  int (*driver)(char *out, unsigned n);
  int (*count)(unsigned *out);
  int (*card)(unsigned index, void **out);
  int (*name)(void *card, char *out, unsigned n);
  int (*memory)(void *card, struct nvml_memory *out);
  /* may be missing */
  int (*capability)(void *card, int *major, int *minor);
  int (*temperature)(void *card, int sensor, unsigned *out);
  int (*load)(void *card, struct nvml_load *out);
  int (*ecc)(void *card, int *now, int *pending);
};

static bool find_nvml(void *library, struct nvml *v) {
  v->init = FUNCTION(int (*)(void), library, "nvmlInit_v2");
  v->shutdown = FUNCTION(int (*)(void), library, "nvmlShutdown");
  v->driver = FUNCTION(int (*)(char *, unsigned), library, "nvmlSystemGetDriverVersion");
  v->count = FUNCTION(int (*)(unsigned *), library, "nvmlDeviceGetCount_v2");
  v->card = FUNCTION(int (*)(unsigned, void **), library, "nvmlDeviceGetHandleByIndex_v2");
  v->name = FUNCTION(int (*)(void *, char *, unsigned), library, "nvmlDeviceGetName");
  v->memory = FUNCTION(int (*)(void *, struct nvml_memory *), library, "nvmlDeviceGetMemoryInfo");
  v->capability = FUNCTION(int (*)(void *, int *, int *), library, "nvmlDeviceGetCudaComputeCapability");
  v->temperature = FUNCTION(int (*)(void *, int, unsigned *), library, "nvmlDeviceGetTemperature");
  v->load = FUNCTION(int (*)(void *, struct nvml_load *), library, "nvmlDeviceGetUtilizationRates");
  v->ecc = FUNCTION(int (*)(void *, int *, int *), library, "nvmlDeviceGetEccMode");
  return v->init && v->shutdown && v->driver && v->count && v->card && v->name && v->memory;
}

static bool ask_card(const struct nvml *v, unsigned index, struct gpu *g) {
  void *card;
  struct nvml_memory memory = {0};
  struct nvml_load load;
  unsigned degrees;
  int major, minor, pending;
  *g = unknown(true);
  if (v->card(index, &card) || v->name(card, g->name, sizeof g->name)) return false;
  if (!v->memory(card, &memory)) g->memory = (int64_t)memory.total, g->free = (int64_t)memory.free;
  if (v->capability && !v->capability(card, &major, &minor)) g->capability = 10 * major + minor;
  if (v->temperature && !v->temperature(card, 0, &degrees)) g->temperature = (int)degrees;
  if (v->load && !v->load(card, &load)) g->load = (int)load.gpu;
  if (v->ecc && v->ecc(card, &g->ecc, &pending)) g->ecc = -1;
  return true;
}

static void ask_nvml(struct gpu_facts *f) {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
  struct nvml v;
  unsigned n = 0;
  if (library && find_nvml(library, &v) && !v.init()) {
    (void)v.driver(f->driver, sizeof f->driver);
    if (v.count(&n)) n = 0;
    if (n) drop_nvidia(f);
    for (unsigned i = 0; i < n && f->n < MAX_GPUS; i++)
      if (ask_card(&v, i, &f->gpu[f->n])) f->n++;
    (void)v.shutdown();
  }
  if (library) dlclose(library);
}

/* In one of the directories of LD_LIBRARY_PATH. */
static bool in_library_path(const char *name) {
  const char *dirs = getenv("LD_LIBRARY_PATH");
  char path[4400];
  for (const char *p = dirs; p && *p;) {
    int n = (int)strcspn(p, ":");
    if (n && text_put(path, sizeof path, "%.*s/%s", n, p, name) && is_file(path)) return true;
    p += n + (p[n] == ':');
  }
  return false;
}

/* Whether the dynamic loader would find it: its cache holds the full path of every library, each ended by a NUL. The libraries are not loaded, since
   those of CUDA run code of their own when they are. */
static bool in_loader_cache(const char *name) {
  struct blob cache;
  struct err ignored = {0};
  char want[64];
  text_put(want, sizeof want, "/%s", name);
  if (!blob_map("/etc/ld.so.cache", &cache, &ignored)) return false;
  const unsigned char *at = memmem(cache.data, cache.size, want, strlen(want) + 1);
  blob_close(&cache);
  return at != NULL;
}

/* The newest version that the loader finds. */
static void find_library(const char *name, int newest, int oldest, char *out, size_t n) {
  for (int v = newest; v >= oldest; v--) {
    text_put(out, n, "%s.so.%d", name, v);
    if (in_library_path(out) || in_loader_cache(out)) return;
  }
  *out = 0;
}

void gpu_look(struct gpu_facts *f) {
  *f = (struct gpu_facts){0};
  list_cards(f);
  read_driver(f);
  ask_driver(f);
  ask_nvml(f);
  find_library("libcublasLt", 14, 11, f->cublas, sizeof f->cublas);
  find_library("libcudnn", 10, 8, f->cudnn, sizeof f->cudnn);
}
