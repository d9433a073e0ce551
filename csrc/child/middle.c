/*
 * The child between a caller and a program that is to be nobody's child. It makes a session, starts the program's
 * process in that, and ends, so that init, or the next subreaper, is the process's parent. All signals are blocked
 * throughout. The rules are those of run.c.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

static void set_busy(struct sidch_middle *middle, uint32_t busy)
{
    __atomic_store_n(&middle->busy, busy, __ATOMIC_RELEASE);
}

static void fail(const struct sidch_middle *middle, enum sid_stage stage, enum sid_call call, int error)
{
    sidch_deliver(middle->job, &(struct sid_report){.stage = (int)stage, .call = (int)call, .error = error});
}

static int start_once(struct sidch_middle *middle, int cgroup_fd)
{
    middle->job->handlers_reset = middle->by_clone3;
    middle->job->in_cgroup = cgroup_fd >= 0;
    return middle->start(middle->how, middle->by_clone3, cgroup_fd);
}

static int start(struct sidch_middle *middle)
{
    int cgroup_fd = middle->by_clone3 ? sidch_cgroup_fd(middle->job) : -1;
    int pid = start_once(middle, cgroup_fd);

    /* A kernel that can't (before 5.7), or a cgroup that won't: the process itself finds out which. */
    if (pid < 0 && cgroup_fd >= 0 && pid != -EAGAIN && pid != -ENOMEM)
        pid = start_once(middle, -1);
    if ((pid == -ENOSYS || pid == -EPERM) && middle->by_clone3) { /* a system call filter, set up since the probe */
        middle->by_clone3 = 0;
        pid = start_once(middle, -1);
    }
    return pid;
}

static enum sid_call call_of(const struct sidch_middle *middle)
{
    if (middle->leave_fd >= 0)
        return SID_CALL_FORK;
    return middle->by_clone3 ? SID_CALL_CLONE3 : SID_CALL_CLONE;
}

/* The kernel would reap the process by itself, and so give its number away before the caller has a pidfd of it. */
static void let_it_stay(struct sidch_middle *middle)
{
    struct sigaction action = {.sa_handler = SIG_DFL}, old = {.sa_handler = SIG_DFL};

    sigaction(SIGCHLD, &action, &old);
    middle->ignores_sigchld = old.sa_handler == SIG_IGN;
}

/* Tells the caller of the process, and keeps its number until the caller has it by another handle. */
static void hand_over(const struct sidch_middle *middle, int pid)
{
    int report_fd = middle->job->report_fd;

    sidch_deliver(middle->job, &(struct sid_report){.stops = SID_STOPS_MADE, .pid = pid});
    sidch_await_leave(middle->leave_fd, report_fd, middle->caller);
}

int sidch_middle_main(void *argument)
{
    struct sidch_middle *middle = argument;
    int pid;

    if (setsid() < 0) {
        fail(middle, SID_STAGE_PROCESS_GROUP, SID_CALL_SETSID, errno);
        _exit(127);
    }
    if (middle->leave_fd >= 0)
        let_it_stay(middle);
    set_busy(middle, 1);
    pid = start(middle);
    if (pid < 0)
        fail(middle, SID_STAGE_NONE, call_of(middle), -pid);
    else
        middle->pid = pid;
    set_busy(middle, 0);
    if (pid > 0 && middle->leave_fd >= 0)
        hand_over(middle, pid);
    if (pid > 0 && middle->shares_memory && middle->job->report->error) /* nobody else need see a failed one */
        waitpid(pid, NULL, 0);
    _exit(0);
}

int sidch_detached_main(void *argument)
{
    struct sidch_middle *middle = argument;

    middle->pid = getpid(); /* somebody may have ended the middle child before it could */
    if (!middle->shares_memory)
        set_busy(middle, 0);
    if (middle->ignores_sigchld)
        sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    return sidch_main(middle->job);
}
