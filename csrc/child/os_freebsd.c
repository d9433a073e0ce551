/* FreeBSD's half of the child. */
#include <sys/types.h>

#include <sys/procctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

int sidch_os_close_range(unsigned first, unsigned last, int now)
{
    return close_range(first, last, now ? 0 : CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

/* An older kernel can close a range but not mark it: it is closed at once, apart from what we need ourselves until the
   program is executed. */
int sidch_os_close_others(struct sidch_state *state)
{
    unsigned first = 3;
    int kept;

    while ((kept = sidch_next_kept(state, (int)first, 1)) >= 0) {
        if ((unsigned)kept > first && close_range(first, (unsigned)kept - 1, 0) < 0)
            return sidch_fail(state, SID_CALL_FCNTL, (int)first);
        first = (unsigned)kept + 1;
    }
    return close_range(first, ~0U, 0) < 0 ? sidch_fail(state, SID_CALL_FCNTL, (int)first) : 0;
}

static int set_groups(size_t count, const unsigned *groups)
{
    return setgroups((int)count, groups);
}

static int set_group(unsigned group)
{
    return setresgid(group, group, group);
}

static int set_user(unsigned user)
{
    return setresuid(user, user, user);
}

const struct sidch_ids sidch_os_ids = {set_groups, set_group, set_user};

/* Programs with set-user-id bits are executed without them. procctl(2) */
int sidch_os_no_new_privileges(void)
{
    int enable = PROC_NO_NEW_PRIVS_ENABLE;

    return procctl(P_PID, getpid(), PROC_NO_NEW_PRIVS_CTL, &enable) < 0 ? -errno : 0;
}

/* The parent is a process here, not a thread. procctl(2) */
int sidch_os_set_parent_death_signal(int signal)
{
    return procctl(P_PID, getpid(), PROC_PDEATHSIG_CTL, &signal) < 0 ? -errno : 0;
}
