/* The ways to make a child: which one serves, and making it. */
#include <signal.h>
#include <unistd.h>

#include "making.h"

static int known_way = SID_WAY_PROBE;
static int forced_way = SID_WAY_PROBE;
static int hide_pidfd;

int sid_force(int way, int hide)
{
    if (way < SID_WAY_PROBE || way > SID_WAY_FORK)
        return -EINVAL;
    forced_way = way;
    hide_pidfd = hide;
    return 0;
}

static int find_way(enum sid_call *call)
{
    int way = forced_way ? forced_way : __atomic_load_n(&known_way, __ATOMIC_RELAXED);

    if (way != SID_WAY_PROBE)
        return way;
    if (sidos_next_child_is_init()) /* a probe's child would be the new namespace's init, and its end the end of all */
        return SID_WAY_FORK;
    way = sidos_probe_way(call);
    if (way > 0)
        __atomic_store_n(&known_way, way, __ATOMIC_RELAXED);
    return way;
}

int sid_way(void)
{
    enum sid_call call;

    return find_way(&call);
}

/* A change of credentials makes the address space undumpable, for good: it must not be the parent's. And the new user
   may stop the child, so the parent must not sleep in vfork until it executes. */
int sidh_way_for(const struct sid_plan *plan, enum sid_call *call)
{
    int changes_ids = plan->sets_groups || plan->sets_group || plan->sets_user;
    int way = find_way(call);

    return changes_ids && (way == SID_WAY_CLONE3 || way == SID_WAY_CLONE) ? SID_WAY_PAGE : way;
}

int sidh_shares_memory(int way)
{
    return way == SID_WAY_CLONE3 || way == SID_WAY_CLONE;
}

int sidh_uses_clone3(int way)
{
    return way == SID_WAY_CLONE3 ||
           (way == SID_WAY_PAGE && __atomic_load_n(&known_way, __ATOMIC_RELAXED) == SID_WAY_CLONE3);
}

void sidh_distrust_clone3(void)
{
    if (!forced_way)
        __atomic_store_n(&known_way, SID_WAY_CLONE, __ATOMIC_RELAXED);
}

static enum sid_call call_of(int way, const struct sidos_start *start)
{
    if (way == SID_WAY_FORK)
        return SID_CALL_FORK;
    return start->by_clone3 ? SID_CALL_CLONE3 : SID_CALL_CLONE;
}

/* A parent-death signal is sent when the parent *thread* ends: so the child needs one that never does. */
static int start_once(struct sidch_job *job, int way, struct sidos_start *start, enum sid_call *call)
{
    *call = call_of(way, start);
    job->handlers_reset = start->by_clone3;
    job->in_cgroup = start->cgroup_fd >= 0;
    if (job->plan->parent_death_signal && !sidos_is_main_thread())
        return sidh_start_on_helper(start, call);
    return sidos_start_child(start);
}

static int start_child(struct sidch_job *job, int way, struct sidos_start *start, enum sid_call *call)
{
    int pid;

    start->cgroup_fd = sidch_cgroup_fd(job);
    /* A clone3 that fails for the cgroup's sake has been the init of a new pid namespace all the same, and ended it. */
    if (start->cgroup_fd >= 0 && (!start->by_clone3 || sidos_next_child_is_init()))
        start->cgroup_fd = -1;
    pid = start_once(job, way, start, call);
    /* A kernel that can't (before 5.7), or a cgroup that won't: the child itself finds out which. */
    if (pid < 0 && start->cgroup_fd >= 0 && pid != -EAGAIN && pid != -ENOMEM) {
        start->cgroup_fd = -1;
        pid = start_once(job, way, start, call);
    }
    /* A system call filter may have been set up since the probe, and clone3 is what filters refuse first. */
    if ((pid == -ENOSYS || pid == -EPERM) && start->by_clone3 && !forced_way && *call == SID_CALL_CLONE3) {
        sidh_distrust_clone3();
        start->by_clone3 = 0;
        pid = start_once(job, way, start, call);
    }
    return pid;
}

int sidh_has_pidfds(void)
{
    static int are_known;
    int fd;

    if (hide_pidfd || __atomic_load_n(&are_known, __ATOMIC_RELAXED))
        return !hide_pidfd;
    if ((fd = sidos_open_pidfd(getpid())) < 0)
        return fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM; /* what makes the child will tell */
    close(fd);
    __atomic_store_n(&are_known, 1, __ATOMIC_RELAXED);
    return 1;
}

int sidh_open_pidfd(int pid)
{
    return hide_pidfd ? -ENOSYS : sidos_open_pidfd(pid);
}

void sidh_adopt(struct sid_child *child, int pid, int pidfd)
{
    if (hide_pidfd && pidfd >= 0) {
        close(pidfd);
        pidfd = -1;
    }
    child->pid = pid;
    child->pidfd = pidfd;
    if (pidfd < 0 && (child->pidfd = sidh_open_pidfd(pid)) < 0) /* unreaped: the number is the child's */
        child->pidfd = SID_PIDFD_NONE;
    child->file = sidos_mark_pidfd(child->pidfd);
}

int sidh_make_child(struct sidch_job *job, int way, struct sid_child *child)
{
    struct sidos_start start = {.main = sidch_main,
                                .argument = job,
                                .shares_memory = sidh_shares_memory(way),
                                .by_clone3 = sidh_uses_clone3(way),
                                .cgroup_fd = -1,
                                .pidfd = -1};
    struct sidos_blocked was;
    enum sid_call call;
    int pid;

    sidos_block(&was);
    job->parent_mask = was.mask;
    job->parent_more = was.more;
    pid = start_child(job, way, &start, &call);
    sidos_unblock(&was);
    if (pid < 0)
        return sidh_failed(&child->report, SID_STAGE_NONE, call, pid);
    sidh_adopt(child, pid, start.pidfd);
    return 0;
}
