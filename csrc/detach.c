/*
 * A program that is nobody's child: in a session that it does not lead, its parent init or the next subreaper.
 *
 * The caller makes a middle child (child/middle.c), which makes the session and the program's process, and ends. Where
 * that child shares the table of files, the kernel puts the process's pidfd straight into the caller's: no number is
 * looked up. Elsewhere the middle child keeps the number taken until the caller has a pidfd of it.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "making.h"

/* What the three processes share. */
struct shared {
    struct sidch_middle middle;
    struct sidos_start program;
    struct sidch_page page;
};

int sidh_has_gone(const struct sid_child *child)
{
    struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
    struct sid_process process;
    int result;

    if (child->pidfd >= 0)
        return poll(&end, 1, 0) > 0;
    if (!child->start)
        return 1;
    result = sid_process(child->pid, &process, NULL);
    return result == 0 || (result > 0 && (!process.lives || process.start != child->start));
}

int sidh_is_stopped(const struct sid_child *child)
{
    struct sid_process process;

    return sid_process(child->pid, &process, NULL) > 0 && process.state == 'T' && !sidh_has_gone(child);
}

/* Makes the middle child; 0, or -errno with child->report filled. */
static int make_middle(struct shared *shared, int way, struct sidch_job *job, int leave_fd, struct sid_child *child)
{
    struct sidos_start start = {.main = sidch_middle_main,
                                .argument = &shared->middle,
                                .shares_memory = sidh_shares_memory(way),
                                .cgroup_fd = -1,
                                .with_pidfd = way != SID_WAY_FORK};
    struct sidos_blocked was;
    int pid;

    shared->program = start;
    shared->program.main = sidch_detached_main;
    shared->program.busy = &shared->middle.busy;
    shared->middle = (struct sidch_middle){.job = job,
                                           .start = sidos_start_from_middle,
                                           .how = &shared->program,
                                           .by_clone3 = sidh_uses_clone3(way),
                                           .shares_memory = start.shares_memory,
                                           .leave_fd = leave_fd,
                                           .caller = getpid()};
    job->is_detached = 1;
    sidos_block(&was);
    job->parent_mask = was.mask;
    job->parent_more = was.more;
    pid = sidos_start_middle(&start, &shared->program);
    sidos_unblock(&was);
    if (pid < 0)
        return sidh_failed(&child->report, SID_STAGE_NONE, way == SID_WAY_FORK ? SID_CALL_FORK : SID_CALL_CLONE, pid);
    child->session = pid;
    child->leader = start.pidfd;
    return 0;
}

/* Whether the middle child has ended, without reaping it; a stopped one goes on. */
static int middle_has_ended(int pid)
{
    struct sidos_ended ended;

    if (sidos_wait(pid, -1, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | sidos_any_child, &ended) < 0)
        return 1;
    if (ended.code == CLD_STOPPED)
        kill(pid, SIGCONT);
    return ended.code != 0 && ended.code != CLD_STOPPED;
}

/* The process `pid` is known by its pidfd; where there is none, by when it has started. As long as its number is taken
   for sure; or else it is in the session, whose number is. */
static void identify(struct sid_child *child, int pid, int pidfd)
{
    struct sid_process process;

    child->pid = pid;
    child->pidfd = pidfd < 0 ? sidh_open_pidfd(pid) : pidfd;
    if (pidfd < 0 && child->pidfd >= 0 && middle_has_ended(child->session) && getsid(pid) != child->session) {
        close(child->pidfd);
        child->pidfd = SID_PIDFD_NONE;
    } else if (child->pidfd < 0 || !sidos_has_pidfds) { /* what a fork leaves behind is not all that is known */
        child->pidfd = child->pidfd < 0 ? SID_PIDFD_NONE : child->pidfd;
        if (sid_process(pid, &process, NULL) > 0 && process.sid == child->session)
            child->start = process.start;
    }
    child->file = sidos_mark_pidfd(child->pidfd);
}

/* A middle child that was ended may have made the process all the same, which was ended too, and is a child of a caller
   that is the subreaper. */
static void reap_made(const struct sid_child *child)
{
    while (sidos_reap_member(child->leader, child->session))
        poll(NULL, 0, 1);
}

/* The middle child has been ended by a signal before it had made the process. (With clone, in
   memory that is shared, it may have made one that was ended before it ran; then a pidfd stays open, since the number
   of one that clone failed to give looks the same.) */
static int ended_early(struct sid_child *child)
{
    return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_FORK, -ECHILD);
}

/* Once the middle child has ended; 0, or -errno with child->report filled. */
static int take_over(const struct shared *shared, int way, struct sid_child *child)
{
    int pid = shared->middle.pid ? shared->middle.pid : shared->program.made;

    if (sidh_uses_clone3(way) && !shared->middle.by_clone3)
        sidh_distrust_clone3();
    if (!pid && child->report.error)
        return -child->report.error;
    if (!pid) {
        reap_made(child);
        return ended_early(child);
    }
    identify(child, pid, shared->program.pidfd);
    return 0;
}

static int by_memory(int way, struct sidch_job *job, struct sid_child *child)
{
    struct shared shared;
    int result;

    job->report = &child->report;
    result = make_middle(&shared, way, job, -1, child);
    return result < 0 ? result : take_over(&shared, way, child);
}

static int by_page(struct sidch_job *job, struct sid_child *child)
{
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int result;

    if (shared == MAP_FAILED)
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_MMAP, -errno);
    job->report = &shared->page.report;
    job->page = &shared->page;
    result = make_middle(shared, SID_WAY_PAGE, job, -1, child);
    if (result == 0) {
        sidos_reap_middle(child->session);
        sidos_await_release(&shared->program, child->leader, child->session);
        if (!shared->middle.pid)
            child->report = shared->page.report;
        result = take_over(shared, SID_WAY_PAGE, child);
    }
    if (result == 0)
        sidh_await_page(&shared->page, child);
    job->page = NULL;
    munmap(shared, sizeof *shared);
    return result;
}

/* Until the middle child has told which process it has made, or has failed. */
static void await_made(int fd, struct sid_child *child)
{
    int over = 0;

    while (!(child->report.stops & SID_STOPS_MADE)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, over ? 0 : SIDH_LOOK_EVERY) > 0) {
            if (sidh_read_record(fd, &child->report) <= 0)
                return;
        } else if (over) {
            return;
        } else {
            over = middle_has_ended(child->session);
        }
    }
}

/* The middle child is not reaped, so that the numbers of its session and group are its own. */
static int identify_made(struct sid_child *child)
{
    struct sid_report *report = &child->report;

    if (report->stops & SID_STOPS_MADE) {
        report->stops &= ~SID_STOPS_MADE;
        identify(child, report->pid, -1);
        return 0;
    }
    return report->error ? -report->error : ended_early(child);
}

static int by_open_pipes(struct sidch_job *job, const int *ends, const int *leave, struct sid_child *child)
{
    const char word = SIDCH_GO_ON;
    struct shared shared;
    int result;

    job->report = NULL;
    job->report_fd = ends[1];
    result = make_middle(&shared, SID_WAY_FORK, job, leave[0], child);
    if (result < 0)
        return result;
    child->leader = sidh_open_pidfd(child->session);
    await_made(ends[0], child);
    result = identify_made(child);
    if (result < 0) /* it may have made the process all the same */
        kill(-child->session, SIGKILL);
    while (write(leave[1], &word, 1) < 0 && errno == EINTR) /* we have both ends */
        ;
    sidos_reap_middle(child->session);
    if (result < 0)
        reap_made(child);
    return result;
}

static int by_pipe(struct sidch_job *job, struct sid_child *child)
{
    int ends[2], leave[2];
    int result = sidh_open_pipe(job->plan, ends);

    if (result < 0)
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_PIPE, result);
    if ((result = sidos_pipe(leave)) < 0) {
        sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_PIPE, result);
        close(ends[1]);
    } else {
        result = by_open_pipes(job, ends, leave, child);
        close(ends[1]);
        close(leave[0]);
        close(leave[1]);
        if (result == 0)
            sidh_read_report(ends[0], job, child);
    }
    close(ends[0]);
    return result;
}

static void close_files(struct sid_child *child)
{
    if (child->pidfd >= 0)
        close(child->pidfd);
    if (child->session && child->leader >= 0)
        close(child->leader);
    child->pidfd = SID_PIDFD_CLOSED;
    child->leader = -1;
}

/* Whether it is a child of ours after all, since we are the subreaper. */
static int is_ours(const struct sid_child *child)
{
    struct sid_process process;

    return child->pidfd >= 0 || (child->start && sid_process(child->pid, &process, NULL) > 0 &&
                                 process.start == child->start && process.ppid == getpid());
}

/* A failed one has ended or is about to. */
static void await_end_of_failed(const struct sid_child *child)
{
    struct sidos_ended ended;

    while (child->pid && !sidh_has_gone(child)) {
        struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
        poll(&end, child->pidfd >= 0, SIDH_LOOK_EVERY);
    }
    while (is_ours(child) && sidos_wait(child->pid, child->pidfd, WEXITED, &ended) == -EINTR)
        ;
}

static int settle(struct sid_child *child)
{
    if (child->report.error) {
        await_end_of_failed(child);
        close_files(child);
        return -child->report.error;
    }
    if (child->leader >= 0 && !sid_group_lives(child->leader)) {
        close(child->leader);
        child->leader = -1;
    }
    child->leader_file = sidos_mark_pidfd(child->leader);
    sidh_hand_over(child, 0);
    sidh_resend_stops(child);
    return 0;
}

static int can_be_known(struct sid_report *report)
{
    struct sid_process self;

    if (sidh_has_pidfds() || sid_process(getpid(), &self, NULL) > 0)
        return 0;
    return sidh_failed(report, SID_STAGE_NONE, SID_CALL_PIDFD_OPEN, -ENOSYS);
}

int sidh_detach(int way, struct sidch_job *job, struct sid_child *child)
{
    int result;

    child->pidfd = child->leader = -1;
    if (sidos_next_child_is_init()) /* the middle child would be it, and its end the end of all */
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_CLONE, -EINVAL);
    if ((result = can_be_known(&child->report)) < 0)
        return result;
    if (way == SID_WAY_FORK || !sidh_has_pidfds())
        result = by_pipe(job, child);
    else
        result = way == SID_WAY_PAGE ? by_page(job, child) : by_memory(way, job, child);
    if (way == SID_WAY_PAGE && child->report.call == SID_CALL_SET_ROBUST_LIST) {
        settle(child); /* the kernel, or a filter, has no robust futexes */
        *child = (struct sid_child){.pidfd = -1, .leader = -1};
        result = by_pipe(job, child);
    }
    if (result < 0)
        close_files(child);
    return result < 0 ? result : settle(child);
}

int sid_is_alive(struct sid_child *child)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result;
    result = !sidh_has_gone(child);
    sidh_release(child);
    return result;
}

/* In this order: a process that had not ended afterwards had its number when that was asked for. */
static int is_in_session(const struct sid_child *child)
{
    return getsid(child->pid) == child->session && !sidh_has_gone(child);
}

static int first_group_lives(const struct sid_child *child)
{
    return child->leader >= 0 && sidos_is_that_pidfd(child->leader, child->leader_file) &&
           sid_group_lives(child->leader);
}

int sid_session_is_own(struct sid_child *child)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result;
    result = is_in_session(child) || first_group_lives(child);
    sidh_release(child);
    return result;
}
