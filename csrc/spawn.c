/* The parent half: block signals, make the child, read its report, reap a failed one. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/child.h"
#include "handle.h"
#include "vectors.h"

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

static int failed(struct sid_child *child, enum sid_call call, int error)
{
    child->report.call = (int)call;
    child->report.error = -error;
    return error;
}

/* A failed child has ended or is about to. Somebody else may reap it first, which is as well. */
static void reap_failed(struct sid_child *child)
{
    struct sidos_ended ended;

    while (sidos_wait(child->pid, child->pidfd, WEXITED, &ended) == -EINTR)
        ;
    if (child->pidfd >= 0)
        close(child->pidfd);
    child->pidfd = SID_PIDFD_CLOSED;
}

static int start_child(struct sidch_job *job, int way, struct sid_child *child)
{
    struct sidos_start start = {.main = sidch_main, .argument = job, .way = way, .pidfd = -1};
    struct sidos_blocked was;
    enum sid_call call;
    int pid;

    sidos_block(&was);
    job->parent_mask = was.mask;
    pid = sidos_start_child(&start, &call);
    sidos_unblock(&was);
    if (pid < 0)
        return failed(child, call, pid);
    child->pid = pid;
    child->pidfd = start.pidfd;
    if (start.pidfd < 0 && (child->pidfd = sidos_open_pidfd(pid)) < 0) /* unreaped: the number is the child's */
        child->pidfd = SID_PIDFD_NONE;
    if (hide_pidfd && child->pidfd >= 0) {
        close(child->pidfd);
        child->pidfd = SID_PIDFD_NONE;
    }
    return 0;
}

static int spawn_shared(struct sidch_job *job, int way, struct sid_child *child)
{
    job->report = &child->report;
    job->handlers_reset = way == SID_WAY_CLONE3;
    return start_child(job, way, child);
}

static int spawn_page(struct sidch_job *job, struct sid_child *child)
{
    struct sid_report *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int result;

    if (page == MAP_FAILED)
        return failed(child, SID_CALL_MMAP, -errno);
    job->report = page;
    result = start_child(job, SID_WAY_PAGE, child);
    if (result == 0)
        child->report = *page;
    munmap(page, sizeof *page);
    return result;
}

/* 1: one record read into `report`; 0: end of file; -errno. */
static int read_record(int fd, struct sid_report *report)
{
    struct sid_report record;
    ssize_t size;

    do
        size = read(fd, &record, sizeof record);
    while (size < 0 && errno == EINTR);
    if (size <= 0)
        return size < 0 ? -errno : 0;
    if (record.stops)
        report->stops = record.stops == SID_STOPS_UNDONE ? 0 : report->stops | record.stops;
    else
        *report = (struct sid_report){record.stage, record.call, record.error, record.detail, report->stops};
    return 1;
}

static int has_ended(const struct sid_child *child)
{
    struct sidos_ended ended;

    return sidh_look(child, WEXITED | WNOHANG, &ended) < 0 || ended.code;
}

/*
 * A process that another thread forks meanwhile holds a copy of the write end, so end of file may come late or never.
 * So look every few milliseconds whether the child has executed its program (its own copy is gone) or has ended; what
 * it wrote before that is in the pipe by then.
 */
static void read_report(int fd, int child_fd, struct sid_child *child)
{
    int over = 0;

    while (!child->report.error) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, over ? 0 : 10) > 0) {
            if (read_record(fd, &child->report) <= 0)
                return;
        } else if (over) {
            return;
        } else { /* nothing for a while, or a signal came: a stream of them must not keep us from looking */
            over = has_ended(child) || sidos_has_executed(child->pid, child_fd, fd);
        }
    }
}

/* At a number that the child gives to another file, the pipe's write end would be lost, and with it the sign that the
   program has been executed. */
static int out_of_the_way(const struct sid_plan *plan, int *fd)
{
    while (*fd < 3 || sidch_is_target(plan, *fd)) {
        int copy = fcntl(*fd, F_DUPFD_CLOEXEC, *fd < 3 ? 3 : *fd + 1);
        if (copy < 0)
            return errno == EINVAL ? -EMFILE : -errno; /* EINVAL: asked for one from the limit up */
        close(*fd);
        *fd = copy;
    }
    return 0;
}

static int open_pipe(const struct sid_plan *plan, int *ends)
{
    int result;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    if ((result = out_of_the_way(plan, &ends[1])) == 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return result;
}

static int spawn_fork(struct sidch_job *job, struct sid_child *child)
{
    int ends[2];
    int result = open_pipe(job->plan, ends);

    if (result < 0)
        return failed(child, SID_CALL_PIPE, result);
    job->report_fd = ends[1];
    result = start_child(job, SID_WAY_FORK, child);
    close(ends[1]);
    if (result == 0)
        read_report(ends[0], ends[1], child);
    close(ends[0]);
    return result;
}

static int spawn_by(int way, struct sidch_job *job, struct sid_child *child)
{
    switch (way) {
    case SID_WAY_CLONE3:
    case SID_WAY_CLONE:
        return spawn_shared(job, way, child);
    case SID_WAY_PAGE:
        return spawn_page(job, child);
    default:
        return spawn_fork(job, child);
    }
}

static void resend_stops(struct sid_child *child, int stops)
{
    static const int signals[] = {SIGTSTP, SIGTTIN, SIGTTOU};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (stops & 1 << signals[i])
            sid_signal_child(child, signals[i]);
}

/* The child has reported or executed: reap a failed one, hand over the other. */
static int settle(const struct sid_plan *plan, struct sid_child *child)
{
    if (child->report.error) {
        reap_failed(child);
        return -child->report.error;
    }
    child->owner = getpid();
    child->leads_session = plan->process_group == SID_GROUP_NEW_SESSION;
    child->refs = 1;
    child->kept = 1;
    resend_stops(child, child->report.stops);
    return 0;
}

/* A system call filter may have been set up since the probe, and clone3 is what filters refuse first. */
static int is_newly_refused(int way, int result, const struct sid_child *child)
{
    return way == SID_WAY_CLONE3 && !forced_way && child->report.call == SID_CALL_CLONE3 &&
           (result == -ENOSYS || result == -EPERM);
}

int sid_spawn(const struct sid_plan *plan, const char *executable, const char *argv, size_t argv_size, int argc,
              const char *const *envp, struct sid_child *child)
{
    struct sid_vectors vectors;
    enum sid_call call;
    int way = find_way(&call);
    int result;

    if (way < 0)
        return failed(child, call, way);
    result = sidh_make_vectors(&vectors, executable, argv, argv_size, argc, envp, plan->move_count);
    if (result < 0)
        return result == -EINVAL ? result : failed(child, SID_CALL_MALLOC, result);
    struct sidch_job job = {.plan = plan,
                            .paths = vectors.paths,
                            .path_count = vectors.path_count,
                            .argv = vectors.argv,
                            .envp = envp,
                            .scratch = vectors.scratch,
                            .report_fd = -1};
    result = spawn_by(way, &job, child);
    if (is_newly_refused(way, result, child)) {
        __atomic_store_n(&known_way, SID_WAY_CLONE, __ATOMIC_RELAXED);
        child->report = (struct sid_report){0};
        result = spawn_by(SID_WAY_CLONE, &job, child);
    }
    sidh_free_vectors(&vectors);
    return result < 0 ? result : settle(plan, child);
}
