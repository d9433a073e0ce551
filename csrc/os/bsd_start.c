/* macOS and FreeBSD: making a child by fork. libc's own, which sees to its locks: the child calls sigaction, which on
   FreeBSD takes one. The middle child forks too, after the atfork handlers of all libraries, which is more than
   allowed_bsd.txt allows. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

int sidos_start_child(struct sidos_start *start)
{
    int pid;

    start->pidfd = -1;
    if (start->shares_memory || start->by_clone3)
        return -ENOSYS;
    pid = fork();
    if (pid == 0) {
        start->main(start->argument);
        _exit(127);
    }
    return pid < 0 ? -errno : pid;
}

/* The caller gets a SIGCHLD for it, unlike on Linux. */
int sidos_start_middle(struct sidos_start *middle, struct sidos_start *program)
{
    program->stack = NULL;
    return sidos_start_child(middle);
}

int sidos_start_from_middle(void *program, int by_clone3, int cgroup_fd)
{
    (void)by_clone3, (void)cgroup_fd; /* there are none */
    return sidos_start_child(program);
}

void sidos_reap_middle(int pid)
{
    struct sidos_ended ended;
    int result;

    while ((result = sidos_wait(pid, -1, WEXITED | WSTOPPED, &ended)) == -EINTR ||
           (result == 0 && ended.code == CLD_STOPPED))
        if (result == 0)
            kill(pid, SIGCONT);
}

int sidos_probe_way(enum sid_call *call)
{
    *call = SID_CALL_FORK;
    return SID_WAY_FORK;
}
