/* An NVML with two cards, in place of libnvidia-ml.so.1: the second tells less than the first. */
#include <stdio.h>
#include <string.h>

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlSystemGetDriverVersion(char *out, unsigned n);
int nvmlDeviceGetCount_v2(unsigned *out);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out);
int nvmlDeviceGetName(void *card, char *out, unsigned n);
int nvmlDeviceGetMemoryInfo(void *card, unsigned long long out[3]);
int nvmlDeviceGetCudaComputeCapability(void *card, int *major, int *minor);
int nvmlDeviceGetTemperature(void *card, int sensor, unsigned *out);
int nvmlDeviceGetUtilizationRates(void *card, unsigned out[2]);
int nvmlDeviceGetEccMode(void *card, int *now, int *pending);

static char cards[2];
enum { NOT_SUPPORTED = 3 };

int nvmlInit_v2(void) {
  return 0;
}
int nvmlShutdown(void) {
  return 0;
}
int nvmlSystemGetDriverVersion(char *out, unsigned n) {
  snprintf(out, n, "580.65.06");
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned *out) {
  *out = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
  *out = &cards[index];
  return index < 2 ? 0 : NOT_SUPPORTED;
}
int nvmlDeviceGetName(void *card, char *out, unsigned n) {
  snprintf(out, n, "%s", card == &cards[0] ? "NVIDIA A100-SXM4-80GB" : "NVIDIA GeForce RTX 3060");
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *card, unsigned long long out[3]) {
  out[0] = card == &cards[0] ? 80ull << 30 : 12ull << 30;
  out[1] = out[0] - (1ull << 30);
  out[2] = 1ull << 30;
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *card, int *major, int *minor) {
  *major = 8;
  *minor = card == &cards[0] ? 0 : 6;
  return 0;
}
int nvmlDeviceGetTemperature(void *card, int sensor, unsigned *out) {
  *out = 41;
  return card == &cards[0] && sensor == 0 ? 0 : NOT_SUPPORTED;
}
int nvmlDeviceGetUtilizationRates(void *card, unsigned out[2]) {
  out[0] = 3;
  out[1] = 1;
  return card == &cards[0] ? 0 : NOT_SUPPORTED;
}
int nvmlDeviceGetEccMode(void *card, int *now, int *pending) {
  *now = *pending = 1;
  return card == &cards[0] ? 0 : NOT_SUPPORTED;
}
