/* What the child may use: control group, resource limits, priority, processors, the out-of-memory killer's eye. */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "child.h"

static int write_file(struct sidch_state *state, int fd, const char *text)
{
    ssize_t result;

    if (fd < 0)
        return sidch_fail(state, SID_CALL_OPEN, 0);
    do
        result = write(fd, text, strlen(text));
    while (result < 0 && errno == EINTR);
    result = result < 0 ? sidch_fail(state, SID_CALL_WRITE, 0) : 0;
    close(fd);
    return (int)result;
}

/* "0" is the writer itself, in whatever pid namespace. cgroups(7) */
int sidch_cgroup(struct sidch_state *state)
{
    int directory = sidch_cgroup_fd(state->job);

    if (directory < 0 || state->job->in_cgroup)
        return 0;
    return write_file(state, openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC), "0");
}

static int open_oom_score(void)
{
    return open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
}

/* A low RLIMIT_NOFILE would leave no number for the file of the step after next: it is opened before. */
int sidch_rlimits(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;

    if (plan->rlimit_count && plan->sets_oom_score_adj)
        state->oom_score_fd = open_oom_score();
    for (int i = 0; i < plan->rlimit_count; i++) {
        const struct sid_rlimit *said = &plan->rlimits[i];
        if (sidch_os_set_limit(said->resource, said->soft, said->hard) < 0)
            return sidch_fail(state, SID_CALL_SETRLIMIT, said->resource);
    }
    return 0;
}

/* The kernel keeps the sum in its range, as nice(2) does. */
int sidch_nice(struct sidch_state *state)
{
    int old;

    if (state->plan->nice == 0)
        return 0;
    errno = 0;
    old = getpriority(PRIO_PROCESS, 0);
    if ((old == -1 && errno) || setpriority(PRIO_PROCESS, 0, old + state->plan->nice) < 0)
        return sidch_fail(state, SID_CALL_SETPRIORITY, state->plan->nice);
    return 0;
}

int sidch_cpu_affinity(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;

    if (plan->cpus_size && sidch_os_set_affinity(plan->cpus, (size_t)plan->cpus_size) < 0)
        return sidch_fail(state, SID_CALL_SCHED_SETAFFINITY, 0);
    return 0;
}

/* -1000 to 1000, written by hand: sprintf is not async-signal-safe. */
static const char *decimal(char *end, int number)
{
    int rest = number < 0 ? -number : number;

    *--end = '\0';
    do
        *--end = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        *--end = '-';
    return end;
}

int sidch_oom_score_adj(struct sidch_state *state)
{
    char text[8];
    int fd = state->oom_score_fd;

    if (!state->plan->sets_oom_score_adj)
        return 0;
    state->oom_score_fd = -1;
    return write_file(state, fd >= 0 ? fd : open_oom_score(), decimal(text + sizeof text, state->plan->oom_score_adj));
}
