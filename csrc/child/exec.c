/* execvp's search, without its fallback to sh. */
#include <string.h>
#include <unistd.h>

#include "child.h"

/* "Not here, go on": what exec(3) says of a search, as glibc does it. */
static int means_next(int error)
{
    return error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE || error == ENODEV ||
           error == ETIMEDOUT;
}

/* A candidate that was there but not executable says more than one that was not there. */
int sidch_exec(struct sidch_state *state)
{
    const struct sidch_job *job = state->job;
    const char *path = job->paths;
    int denied = -1;

    if (!*path) {
        errno = ENOENT;
        return sidch_fail(state, SID_CALL_EXECVE, 0);
    }
    for (int i = 0; i < job->path_count; i++, path += strlen(path) + 1) {
        execve(path, (char *const *)job->argv, (char *const *)job->envp); /* which writes to neither */
        sidch_fail(state, SID_CALL_EXECVE, i);
        if (errno == EACCES && denied < 0)
            denied = i;
        if (!means_next(errno))
            return -errno;
    }
    if (denied >= 0) {
        errno = EACCES;
        sidch_fail(state, SID_CALL_EXECVE, denied);
    }
    return -1;
}
