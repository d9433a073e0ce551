/* macOS's half of the child. */
#include <libproc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "child.h"

/* There is none. */
int sidch_os_close_range(unsigned first, unsigned last, int now)
{
    (void)first, (void)last, (void)now;
    return -ENOSYS;
}

/*
 * One more than the largest number that may be open. Asked without a buffer, the kernel tells how large the table of
 * files is, and some: it has grown to hold the largest number ever used. Not what is in it: there may be more than
 * fits on a stack, and the limit may have been lowered below an open file.
 */
static int end_of_files(void)
{
    int size = proc_pidinfo(getpid(), PROC_PIDLISTFDS, 0, NULL, 0), most = 1 << 20;
    struct rlimit limit;

    if (size > 0)
        return size / (int)sizeof(struct proc_fdinfo);
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)most ? (int)limit.rlim_max : most;
}

int sidch_os_close_others(struct sidch_state *state)
{
    const int end = end_of_files();

    for (int fd = 3; fd < end; fd++)
        if (sidch_close_one(state, fd) < 0)
            return -errno;
    return 0;
}

static int set_groups(size_t count, const unsigned *groups)
{
    return setgroups((int)count, groups);
}

/* The saved ids go with them where the real one is said. setregid(2) */
static int set_group(unsigned group)
{
    return setregid(group, group);
}

static int set_user(unsigned user)
{
    return setreuid(user, user);
}

const struct sidch_ids sidch_os_ids = {set_groups, set_group, set_user};

int sidch_os_no_new_privileges(void)
{
    errno = ENOSYS;
    return -ENOSYS;
}

int sidch_os_set_parent_death_signal(int signal)
{
    (void)signal;
    errno = ENOSYS;
    return -ENOSYS;
}
