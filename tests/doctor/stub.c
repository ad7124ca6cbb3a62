/* A libnvidia-ml.so.1 that says what its environment tells it to say: so that the doctor's path
   through ctypes is the real one. STUB_* are read at each call; what is not set is healthy. */
#include <stdlib.h>
#include <string.h>

typedef int result;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, UNKNOWN = 999 };
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } process;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static result say(char *to, unsigned size, const char *name, const char *otherwise) {
    const char *text = getenv(name) ? getenv(name) : otherwise;
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

/* -1: this GPU has no such thing. */
static result maybe(const char *name, long otherwise, unsigned *to) {
    long value = number(name, otherwise);
    if (value < 0) return NOT_SUPPORTED;
    *to = (unsigned)value;
    return SUCCESS;
}

result nvmlInitWithFlags(unsigned flags) { return (result)number("STUB_INIT", SUCCESS); }
result nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(result code) { return "an error of the stub"; }
result nvmlSystemGetDriverVersion(char *to, unsigned size) { return say(to, size, "STUB_DRIVER", "580.65.06"); }
result nvmlSystemGetCudaDriverVersion_v2(int *to) { *to = (int)number("STUB_CUDA", 13000); return SUCCESS; }
result nvmlDeviceGetCount_v2(unsigned *to) { *to = (unsigned)number("STUB_COUNT", 1); return SUCCESS; }

result nvmlDeviceGetHandleByIndex_v2(unsigned place, void **handle) {
    *handle = (void *)(size_t)(place + 1);
    return (result)number("STUB_HANDLE", SUCCESS);
}

result nvmlDeviceGetName(void *handle, char *to, unsigned size) {
    return say(to, size, (size_t)handle == 2 ? "STUB_NAME_2" : "STUB_NAME", "NVIDIA A100-SXM4-80GB");
}

result nvmlDeviceGetMemoryInfo(void *handle, memory *to) {
    to->total = (unsigned long long)number("STUB_GIB", 80) << 30;
    to->used = (unsigned long long)number("STUB_USED_MIB", 500) << 20;
    to->free = to->total - to->used;
    return SUCCESS;
}

result nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    long both = number("STUB_CAPABILITY", 80);
    if (both < 0) return NOT_SUPPORTED;
    *major = (int)both / 10;
    *minor = (int)both % 10;
    return SUCCESS;
}

result nvmlDeviceGetPersistenceMode(void *handle, unsigned *to) { return maybe("STUB_PERSISTENCE", 1, to); }

result nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    *pending = 0;
    return maybe("STUB_MIG", 0, now);
}

result nvmlDeviceGetEccMode(void *handle, unsigned *now, unsigned *pending) {
    *pending = 0;
    return maybe("STUB_ECC", 1, now);
}

result nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *to) { return maybe("STUB_POWER_MW", 400000, to); }
result nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned *to) { return maybe("STUB_POWER_DEFAULT_MW", 400000, to); }

result nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process *to) {
    long programs = number("STUB_PROGRAMS", 0);
    if (programs < 0) return NOT_SUPPORTED;
    unsigned room = *count;
    *count = (unsigned)programs;
    if (programs > room) return INSUFFICIENT_SIZE;
    for (long place = 0; place < programs; place++)
        to[place] = (process){4242 + (unsigned)place, 3ULL << 30, 0, 0};
    return SUCCESS;
}
