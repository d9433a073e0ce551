/* What is the same in macOS's and FreeBSD's half of the child. It is a forked copy: it has its memory for itself. */
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "../os/bsd_signals.h"
#include "child.h"

/* What can't be set has its default: what FreeBSD's threads use. */
static int set_disposition(int signal, void (*handler)(int))
{
    int result = sigaction(signal, &(struct sigaction){.sa_handler = handler}, NULL);

    return result < 0 && errno == EINVAL && handler == SIG_DFL ? 0 : result;
}

/* Some can't be asked for either, as SIGKILL. */
static int is_caught(int signal)
{
    struct sigaction action;

    return sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

int sidch_os_dispositions(struct sidch_state *state)
{
    const uint64_t ignored[] = {state->plan->ignore_signals, 0}, defaults[] = {state->plan->default_signals, 0};

    for (int signal = 1; signal <= SIDOS_LAST_SIGNAL; signal++) {
        int result = 0;

        if (sidos_has_signal(ignored, signal))
            result = set_disposition(signal, SIG_IGN);
        else if (sidos_has_signal(defaults, signal) || (!state->job->goes_on && is_caught(signal)))
            result = set_disposition(signal, SIG_DFL);
        if (result < 0)
            return sidch_fail(state, SID_CALL_SIGACTION, signal);
    }
    return 0;
}

struct sidch_state **sidch_os_anchor(void)
{
    static struct sidch_state *state;

    return &state;
}

/* Also called in a process that has other threads, which applies a plan to itself. */
int sidch_os_set_mask(uint64_t mask, uint64_t more)
{
    sigset_t set = sidos_as_set(mask, more);

    return -pthread_sigmask(SIG_SETMASK, &set, NULL);
}

int sidch_os_set_limit(int resource, uint64_t soft, uint64_t hard)
{
    const struct rlimit limits = {
        .rlim_cur = soft == UINT64_MAX ? RLIM_INFINITY : (rlim_t)soft,
        .rlim_max = hard == UINT64_MAX ? RLIM_INFINITY : (rlim_t)hard,
    };

    return setrlimit(resource, &limits) < 0 ? -errno : 0;
}

int sidch_os_is_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, 0) > 0;
}

static int missing(void)
{
    errno = ENOSYS;
    return -ENOSYS;
}

int sidch_os_set_affinity(const unsigned long *cpus, size_t size)
{
    (void)cpus, (void)size;
    return missing();
}

/* The kernel's word that the memory has gone: no such thing. The pipe it is. */
int sidch_os_tell_of_exec(struct sidch_page *page, struct sidch_robust_head *head)
{
    (void)page, (void)head;
    return missing();
}
