/* A stand-in for NVIDIA's management library, so that pynvml's own ctypes path runs.

   What it does is said by environment variables:
     STUB_GPUS          how many (default 1)
     STUB_INIT          what nvmlInit answers (nvmlReturn_t)
     STUB_UNSUPPORTED   names that answer "not supported", one after the other
     STUB_LOST          number of a GPU that is lost ...
     STUB_LOST_AFTER    ... after so many questions for its power
     STUB_REASONS       bits of the clock's reasons
     STUB_MIG           instances of GPU 0
     STUB_PROCESSES     that compute on each GPU (default 0)
   Compiled with -DOLD it lacks what drivers before 535 lack. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15 };

typedef struct { int gpu, instance, asked; } device;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process;

static device gpus[8];
static device instances[8];

static int number(const char *name, int otherwise) {
  const char *said = getenv(name);
  return said ? (int)strtol(said, NULL, 0) : otherwise;
}

static int refused(device *d, const char *name) {
  const char *words = getenv("STUB_UNSUPPORTED");
  if (d->gpu == number("STUB_LOST", -1) && d->asked > number("STUB_LOST_AFTER", 0)) return LOST;
  if (words && strstr(words, name)) return NOT_SUPPORTED;
  return OK;
}

#define ANSWER(name) int why = refused(d, name); if (why) return why

int nvmlInitWithFlags(unsigned flags) { (void)flags; return number("STUB_INIT", OK); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "stub's error"; }
int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "580.00"); return OK; }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = number("STUB_GPUS", 1); return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, device **out) {
  gpus[i].gpu = i; gpus[i].instance = -1; *out = &gpus[i]; return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device **out) {
  if (strncmp(uuid, "GPU-stub-", 9) == 0) return nvmlDeviceGetHandleByIndex_v2(atoi(uuid + 9), out);
  if (strncmp(uuid, "MIG-stub-", 9) == 0) { *out = &instances[atoi(uuid + 9)]; return OK; }
  return NOT_FOUND;
}
int nvmlDeviceGetIndex(device *d, unsigned *out) { *out = d->gpu; return OK; }
int nvmlDeviceGetName(device *d, char *out, unsigned n) { (void)d; snprintf(out, n, "Stub"); return OK; }
int nvmlDeviceGetMemoryInfo(device *d, memory *out) {
  ANSWER("memory");
  out->total = 80ULL << 30; out->used = (unsigned long long)(d->instance < 0 ? 40 : 5) << 30;
  out->free = out->total - out->used; return OK;
}
int nvmlDeviceGetUtilizationRates(device *d, rates *out) {
  ANSWER("utilisation");
  if (number("STUB_MIG", 0)) return NOT_SUPPORTED;
  out->gpu = 90; out->memory = 45; return OK;
}
int nvmlDeviceGetPowerUsage(device *d, unsigned *out) {
  d->asked++;
  ANSWER("power");
  *out = 300000 + 1000 * d->gpu; return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(device *d, unsigned long long *out) {
  ANSWER("energy");
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
  *out = 300ULL * (t.tv_sec * 1000ULL + t.tv_nsec / 1000000ULL); return OK;  /* mJ: 300 W */
}
int nvmlDeviceGetClockInfo(device *d, unsigned which, unsigned *out) {
  ANSWER("clock"); *out = which == 1 ? 1980 : 2619; return OK;
}
int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *out) {
  (void)sensor; ANSWER("temperature"); *out = 71; return OK;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(device *d, unsigned long long *out) {
  ANSWER("reasons"); *out = number("STUB_REASONS", 0); return OK;
}
#ifndef OLD
int nvmlDeviceGetCurrentClocksEventReasons(device *d, unsigned long long *out) {
  return nvmlDeviceGetCurrentClocksThrottleReasons(d, out);
}
#endif
int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, process *out) {
  unsigned i, n = number("STUB_PROCESSES", 0);
  ANSWER("processes");
  if (*count < n) { *count = n; return TOO_SMALL; }
  for (i = 0; i < n; i++) out[i] = (process){1000 + i, 1 << 30, 0, 0};
  *count = n; return OK;
}
int nvmlDeviceGetMigMode(device *d, unsigned *now, unsigned *later) {
  if (!getenv("STUB_MIG")) return NOT_SUPPORTED;
  *now = *later = d->gpu == 0; return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *out) { (void)d; *out = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned i, device **out) {
  if (i >= (unsigned)number("STUB_MIG", 0)) return NOT_FOUND;
  instances[i].gpu = d->gpu; instances[i].instance = i; *out = &instances[i]; return OK;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device *d, device **out) {
  return nvmlDeviceGetHandleByIndex_v2(d->gpu, out);
}
