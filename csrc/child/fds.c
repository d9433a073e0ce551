/* Files: the moves, closing the rest, umask, directory. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"

int sidch_is_target(const struct sid_plan *plan, int fd)
{
    int low = 0, high = plan->move_count;

    while (low < high) {
        int middle = low + (high - low) / 2;
        if (plan->moves[middle].target < fd)
            low = middle + 1;
        else
            high = middle;
    }
    return low < plan->move_count && plan->moves[low].target == fd;
}

/* A close-on-exec copy of `fd` at a number that no move wants. Copies that land on a target on the way there are
   left: the target's own move overwrites them. */
static int lift(struct sidch_state *state, int fd)
{
    int copy = 2;

    do
        copy = fcntl(fd, F_DUPFD_CLOEXEC, copy + 1);
    while (copy >= 0 && sidch_is_target(state->plan, copy));
    if (copy < 0 && errno == EINVAL) /* asked for one from the limit up: there is none left below */
        errno = EMFILE;
    return copy < 0 ? sidch_fail(state, SID_CALL_FCNTL, fd) : copy;
}

/* The directory must survive the moves. The report's fd is at a number that no move wants. */
static int lift_cwd(struct sidch_state *state)
{
    if (state->cwd_fd < 0 || !sidch_is_target(state->plan, state->cwd_fd))
        return 0;
    state->cwd_fd = lift(state, state->cwd_fd);
    return state->cwd_fd;
}

/* Not at 0, 1 or 2 where these are closed: it would be taken for the stream of that number. */
static int open_devnull(struct sidch_state *state)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return sidch_fail(state, SID_CALL_OPEN, 0);
    return fd < 3 || sidch_is_target(state->plan, fd) ? lift(state, fd) : fd;
}

/* Where each move's file is while the targets are overwritten: state->job->scratch. */
static int gather(struct sidch_state *state)
{
    int devnull = -1;

    for (int i = 0; i < state->plan->move_count; i++) {
        const struct sid_fd_move *move = &state->plan->moves[i];
        int fd = move->source;

        if (fd == SID_SOURCE_DEVNULL)
            fd = devnull = devnull < 0 ? open_devnull(state) : devnull;
        else if (move->lift)
            fd = lift(state, fd);
        if (fd < 0)
            return fd;
        state->job->scratch[i] = fd;
    }
    return 0;
}

static int place(struct sidch_state *state, int fd, int target)
{
    int flags;

    if (fd != target) {
        int result;
        do
            result = dup2(fd, target);
        while (result < 0 && (errno == EINTR || errno == EBUSY)); /* EBUSY: another thread is opening at `target` */
        return result < 0 ? sidch_fail(state, SID_CALL_DUP2, target) : 0;
    }
    /* dup2 onto itself leaves close-on-exec as it is. */
    flags = fcntl(fd, F_GETFD);
    if (flags < 0 || ((flags & FD_CLOEXEC) && fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0))
        return sidch_fail(state, SID_CALL_FCNTL, fd);
    return 0;
}

int sidch_fds(struct sidch_state *state)
{
    int result;

    if (state->plan->move_count == 0)
        return 0;
    if ((result = lift_cwd(state)) < 0 || (result = gather(state)) < 0)
        return result;
    for (int i = 0; i < state->plan->move_count; i++)
        if ((result = place(state, state->job->scratch[i], state->plan->moves[i].target)) < 0)
            return result;
    return 0;
}

/* Marks the gaps between the targets; a kernel or filter without close_range has every fd marked by itself. */
int sidch_close_fds(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;
    unsigned first = 3;

    if (!plan->close_fds)
        return 0;
    for (int i = 0; i < plan->move_count; i++) {
        unsigned target = (unsigned)plan->moves[i].target;
        if (target < first)
            continue;
        if (target > first && sidch_os_close_range(first, target - 1) < 0)
            return sidch_os_close_others(state);
        first = target + 1;
    }
    return sidch_os_close_range(first, ~0U) < 0 ? sidch_os_close_others(state) : 0;
}

/* umask can't fail, but a seccomp filter can make it. glibc then returns the kernel's -errno and leaves errno alone. */
int sidch_umask(struct sidch_state *state)
{
    int old;

    if (state->plan->umask < 0)
        return 0;
    errno = 0;
    old = (int)umask((mode_t)state->plan->umask);
    if (old >= 0)
        return 0;
    if (errno == 0)
        errno = -old;
    return sidch_fail(state, SID_CALL_UMASK, 0);
}

int sidch_cwd(struct sidch_state *state)
{
    if (state->plan->cwd && chdir(state->plan->cwd) < 0)
        return sidch_fail(state, SID_CALL_CHDIR, 0);
    if (state->cwd_fd >= 0 && fchdir(state->cwd_fd) < 0)
        return sidch_fail(state, SID_CALL_FCHDIR, state->plan->cwd_fd);
    return 0;
}
