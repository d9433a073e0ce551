/* Preloaded: getsid calls back before and after it asks, so that a test can act in the middle of a call to C. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static void (*called)(int pid, int after);

void between_call(void (*callback)(int pid, int after))
{
    called = callback;
}

pid_t getsid(pid_t pid)
{
    int result, error;

    if (called)
        called(pid, 0);
    result = (int)syscall(SYS_getsid, pid);
    error = errno;
    if (called)
        called(pid, 1);
    errno = error;
    return result;
}
