/* All systems: the group that a middle child has led, once that has been reaped and its number is free. */
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

/* By the leader's pidfd, since the number may be another group's as soon as nobody is left; before Linux 6.9 by that.
 */
static int look(int leader, int group)
{
    int result = leader < 0 ? -EINVAL : sidos_signal_led_group(leader, 0, 0);

    if (result < 0 && result != -ESRCH && result != -EPERM)
        result = kill(-group, 0) < 0 ? -errno : 0;
    return result;
}

int sidos_reap_member(int leader, int group)
{
    siginfo_t ended;

    return look(leader, group) == 0 && waitid(P_PGID, (id_t)group, &ended, WEXITED | WNOHANG) == 0;
}

static int has_ended(const struct sidos_start *program)
{
    struct pollfd end = {.fd = program->pidfd, .events = POLLIN};

    return __atomic_load_n(&program->made, __ATOMIC_ACQUIRE) && program->pidfd >= 0 && poll(&end, 1, 0) > 0;
}

void sidos_await_release(const struct sidos_start *program, int leader, int group)
{
    while (__atomic_load_n(program->busy, __ATOMIC_ACQUIRE) && !has_ended(program) && look(leader, group) != -ESRCH) {
        sidos_reap_member(leader, group);
        sidos_await_word(program->busy, 1, 10);
    }
}
