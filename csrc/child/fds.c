/* Files: the moves, closing the rest, umask, root, directory. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"

/* The first move whose target is `fd` or higher. */
static int first_move(const struct sid_plan *plan, int fd)
{
    int low = 0, high = plan->move_count;

    while (low < high) {
        int middle = low + (high - low) / 2;
        if (plan->moves[middle].target < fd)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int sidch_is_target(const struct sid_plan *plan, int fd)
{
    int i = first_move(plan, fd);

    return i < plan->move_count && plan->moves[i].target == fd;
}

static int is_kept(const struct sidch_state *state, int fd)
{
    const struct sidch_job *job = state->job;

    return sidch_is_target(state->plan, fd) || (job->goes_on && (fd == state->cwd_fd || fd == job->report_fd ||
                                                                 fd == job->parent_pidfd || fd == job->cgroup_fd));
}

/* A close-on-exec copy of `fd` at a number that no move wants. */
static int lift(struct sidch_state *state, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    while (copy >= 0 && sidch_is_target(state->plan, copy)) {
        close(copy);
        copy = fcntl(fd, F_DUPFD_CLOEXEC, copy + 1);
    }
    if (copy < 0 && errno == EINVAL) /* asked for one from the limit up: there is none left below */
        errno = EMFILE;
    return copy < 0 ? sidch_fail(state, SID_CALL_FCNTL, fd) : copy;
}

/* The directory must survive the moves. The report's fd is at a number that no move wants. */
static int lift_cwd(struct sidch_state *state)
{
    int copy;

    if (state->cwd_fd < 0 || !sidch_is_target(state->plan, state->cwd_fd))
        return 0;
    copy = lift(state, state->cwd_fd);
    if (copy >= 0)
        state->cwd_fd = copy;
    return copy;
}

/* Not at 0, 1 or 2 where these are closed: it would be taken for the stream of that number. */
static int open_devnull(struct sidch_state *state)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int copy;

    if (fd < 0)
        return sidch_fail(state, SID_CALL_OPEN, 0);
    if (fd >= 3 && !sidch_is_target(state->plan, fd))
        return fd;
    copy = lift(state, fd);
    close(fd);
    return copy;
}

/* Where each move's file is while the targets are overwritten: state->job->scratch. How many were found in `*count`. */
static int gather(struct sidch_state *state, int *count)
{
    int devnull = -1;

    for (*count = 0; *count < state->plan->move_count; ++*count) {
        const struct sid_fd_move *move = &state->plan->moves[*count];
        int fd = move->source;

        if (fd == SID_SOURCE_DEVNULL)
            fd = devnull = devnull < 0 ? open_devnull(state) : devnull;
        else if (move->lift)
            fd = lift(state, fd);
        if (fd < 0)
            return fd;
        state->job->scratch[*count] = fd;
    }
    return 0;
}

/* The copies that the first `count` moves were made from; at an exec they close by themselves. */
static void close_lifted(struct sidch_state *state, int count)
{
    int devnull = -1;

    for (int i = 0; i < count; i++) {
        int fd = state->job->scratch[i];
        if (state->plan->moves[i].lift || (state->plan->moves[i].source == SID_SOURCE_DEVNULL && fd != devnull))
            close(fd);
        if (state->plan->moves[i].source == SID_SOURCE_DEVNULL)
            devnull = fd;
    }
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
    int result, count = 0;

    if (state->plan->move_count == 0)
        return 0;
    result = lift_cwd(state);
    if (result >= 0)
        result = gather(state, &count);
    for (int i = 0; i < count && result >= 0; i++)
        result = place(state, state->job->scratch[i], state->plan->moves[i].target);
    if (state->job->goes_on)
        close_lifted(state, count);
    return result;
}

/* A number that is not open is none of ours. What close returns says nothing of whether it has closed: it has. */
int sidch_close_one(struct sidch_state *state, int fd)
{
    if (fd < 3 || is_kept(state, fd))
        return 0;
    if (state->job->goes_on) {
        close(fd);
        return 0;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 || errno == EBADF)
        return 0;
    return sidch_fail(state, SID_CALL_FCNTL, fd);
}

int sidch_next_kept(const struct sidch_state *state, int from, int own_too)
{
    const struct sidch_job *job = state->job;
    const int own[] = {state->cwd_fd, job->report_fd, job->parent_pidfd, job->cgroup_fd};
    int i = first_move(state->plan, from);
    int next = i < state->plan->move_count ? state->plan->moves[i].target : -1;

    for (i = 0; own_too && i < (int)(sizeof own / sizeof *own); i++)
        if (own[i] >= from && (next < 0 || own[i] < next))
            next = own[i];
    return next;
}

/* By the gaps between what is kept; a kernel or filter without close_range has every fd treated by itself. */
int sidch_close_fds(struct sidch_state *state)
{
    int now = state->job->goes_on;
    unsigned first = 3;
    int kept;

    if (!state->plan->close_fds)
        return 0;
    while ((kept = sidch_next_kept(state, (int)first, now)) >= 0) {
        if ((unsigned)kept > first && sidch_os_close_range(first, (unsigned)kept - 1, now) < 0)
            return sidch_os_close_others(state);
        first = (unsigned)kept + 1;
    }
    return sidch_os_close_range(first, ~0U, now) < 0 ? sidch_os_close_others(state) : 0;
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

/* Without a chdir the working directory stays outside, and `..` leads further out. */
int sidch_chroot(struct sidch_state *state)
{
    if (state->plan->chroot && chroot(state->plan->chroot) < 0)
        return sidch_fail(state, SID_CALL_CHROOT, 0);
    if (state->plan->chroot && chdir("/") < 0)
        return sidch_fail(state, SID_CALL_CHDIR, 0);
    return 0;
}

int sidch_cwd(struct sidch_state *state)
{
    if (state->plan->cwd && chdir(state->plan->cwd) < 0)
        return sidch_fail(state, SID_CALL_CHDIR, 0);
    if (state->cwd_fd >= 0 && fchdir(state->cwd_fd) < 0)
        return sidch_fail(state, SID_CALL_FCHDIR, state->plan->cwd_fd);
    return 0;
}

void sidch_close_own(struct sidch_state *state, int all_is_done)
{
    const struct sid_plan *plan = state->plan;
    const int opened[] = {state->oom_score_fd, state->job->cgroup_fd, state->job->parent_pidfd};
    int is_lifted = state->cwd_fd != plan->cwd_fd;

    for (size_t i = 0; i < sizeof opened / sizeof *opened; i++)
        if (opened[i] >= 0)
            close(opened[i]);
    if (state->cwd_fd < 3 || sidch_is_target(plan, state->cwd_fd))
        return;
    if (is_lifted || (plan->close_fds && all_is_done)) /* the caller's own is to be closed like all others */
        close(state->cwd_fd);
}
