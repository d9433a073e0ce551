/* How the parent learns what has become of a child: from its own memory, from a shared page, through a pipe. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "making.h"

int sidh_has_ended(const struct sid_child *child)
{
    struct sidos_ended ended;

    if (child->session)
        return sidh_has_gone(child);
    return sidh_look(child, WEXITED | WNOHANG, &ended) < 0 || ended.code;
}

/* Nobody can catch SIGSTOP, and the user that the child becomes may send it. The program gets it once it runs. */
void sidh_put_off_stop(struct sid_child *child)
{
    struct sidos_ended seen = {0};

    if (child->session ? !sidh_is_stopped(child)
                       : sidh_look(child, WSTOPPED | WNOHANG, &seen) < 0 || seen.code != CLD_STOPPED)
        return;
    child->report.stops |= 1 << SIGSTOP;
    if (child->pidfd >= 0)
        sidos_signal_pidfd(child->pidfd, child->pid, SIGCONT);
    else
        kill(child->pid, SIGCONT);
    if (!child->session)
        sidos_wait(child->pid, child->pidfd, WCONTINUED | WNOHANG, &seen); /* nobody else need know of it */
}

static int make_shared(int way, struct sidch_job *job, struct sid_child *child)
{
    job->report = &child->report;
    return sidh_make_child(job, way, child);
}

void sidh_await_page(struct sidch_page *page, struct sid_child *child)
{
    for (;;) {
        uint32_t word = __atomic_load_n(&page->robust.word, __ATOMIC_ACQUIRE);
        if (word & SIDCH_HAS_EXECUTED)
            break;
        sidos_await_word(&page->robust.word, word, SIDH_LOOK_EVERY);
        if (word == __atomic_load_n(&page->robust.word, __ATOMIC_ACQUIRE)) {
            if (sidh_has_ended(child)) /* before it could ask the kernel to tell */
                break;
            sidh_put_off_stop(child);
        }
    }
    page->report.stops |= child->report.stops;
    child->report = page->report;
}

static int make_with_page(struct sidch_job *job, struct sid_child *child)
{
    struct sidch_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int result;

    if (page == MAP_FAILED)
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_MMAP, -errno);
    job->report = &page->report;
    job->page = page;
    result = sidh_make_child(job, SID_WAY_PAGE, child);
    if (result == 0)
        sidh_await_page(page, child);
    job->page = NULL;
    munmap(page, sizeof *page);
    return result;
}

int sidh_read_record(int fd, struct sid_report *report)
{
    struct sid_report record;
    ssize_t size;

    do
        size = read(fd, &record, sizeof record);
    while (size < 0 && errno == EINTR);
    if (size <= 0)
        return size < 0 ? -errno : 0;
    if (record.stops) {
        report->stops = record.stops == SID_STOPS_UNDONE ? 0 : report->stops | record.stops;
        report->pid = record.stops == SID_STOPS_MADE ? record.pid : report->pid;
    } else {
        record.stops = report->stops;
        *report = record;
    }
    return 1;
}

/*
 * A process that another thread forks meanwhile holds a copy of the write end, so end of file may come late or never.
 * So look every few milliseconds whether the child has executed its program (its own copy is gone) or has ended; what
 * it wrote before that is in the pipe by then.
 */
void sidh_read_report(int fd, const struct sidch_job *job, struct sid_child *child)
{
    const struct sid_plan *plan = job->plan;
    int is_like_us = !plan->sets_user && !plan->sets_group;
    int over = 0;

    while (!child->report.error) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, over ? 0 : SIDH_LOOK_EVERY) > 0) {
            if (sidh_read_record(fd, &child->report) <= 0)
                return;
        } else if (over) {
            return;
        } else { /* nothing for a while, or a signal came: a stream of them must not keep us from looking */
            over = sidh_has_ended(child) || sidos_has_executed(child->pid, job->report_fd, fd, is_like_us);
            if (!over)
                sidh_put_off_stop(child);
        }
    }
}

/* At a number that the child gives to another file, the pipe's write end would be lost, and with it the sign that the
   program has been executed. */
int sidh_open_pipe(const struct sid_plan *plan, int *ends)
{
    int result;

    if ((result = sidos_pipe(ends)) < 0)
        return result;
    if ((result = sidh_out_of_the_way(plan, &ends[1])) == 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return result;
}

static int make_with_pipe(struct sidch_job *job, struct sid_child *child)
{
    int ends[2];
    int result = sidh_open_pipe(job->plan, ends);

    if (result < 0)
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_PIPE, result);
    job->report_fd = ends[1];
    result = sidh_make_child(job, SID_WAY_FORK, child);
    close(ends[1]);
    if (result == 0)
        sidh_read_report(ends[0], job, child);
    close(ends[0]);
    return result;
}

int sidh_make_and_wait(int way, struct sidch_job *job, struct sid_child *child)
{
    int result;

    if (way == SID_WAY_FORK)
        return make_with_pipe(job, child);
    if (way != SID_WAY_PAGE)
        return make_shared(way, job, child);
    result = make_with_page(job, child);
    if (result < 0 || child->report.call != SID_CALL_SET_ROBUST_LIST)
        return result;
    sidh_reap_failed(child); /* the kernel, or a filter, has no robust futexes */
    child->report = (struct sid_report){0};
    return make_with_pipe(job, child);
}

/* Somebody else may reap it first, which is as well. */
void sidh_reap_failed(struct sid_child *child)
{
    struct sidos_ended ended;

    while (sidos_wait(child->pid, child->pidfd, WEXITED, &ended) == -EINTR)
        ;
    if (child->pidfd >= 0)
        close(child->pidfd);
    child->pidfd = SID_PIDFD_CLOSED;
}

void sidh_resend_stops(struct sid_child *child)
{
    static const int signals[] = {SIGTSTP, SIGTTIN, SIGTTOU, SIGSTOP};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (child->report.stops & 1 << signals[i])
            sid_signal_child(child, signals[i]);
}

void sidh_hand_over(struct sid_child *child, int leads_session)
{
    child->owner = getpid();
    child->leads_session = leads_session;
    sidh_hold_first(child);
}

int sidh_settle(const struct sid_plan *plan, struct sid_child *child)
{
    if (child->report.error) {
        sidh_reap_failed(child);
        return -child->report.error;
    }
    sidh_hand_over(child, plan->process_group == SID_GROUP_NEW_SESSION);
    sidh_resend_stops(child);
    return 0;
}
