/* Linux's half of the child. Raw calls where libc hides its own signals (32 to 34) or is too old to know one. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

#ifndef SYS_close_range
#define SYS_close_range 436 /* one number on all architectures */
#endif

enum { MARK_CLOEXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC, Linux 5.11 */

int sidch_os_close_range(unsigned first, unsigned last, int now)
{
    return syscall(SYS_close_range, first, last, now ? 0U : (unsigned)MARK_CLOEXEC) < 0 ? -errno : 0;
}

static int parse_fd(const char *name)
{
    int fd = 0;

    for (; *name; name++) {
        if (*name < '0' || *name > '9')
            return -1;
        fd = fd * 10 + (*name - '0');
    }
    return fd;
}

/* getdents64(2)'s record; libc has it under several names or not at all. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* The listing goes by number, so closing what it has named does not upset it. */
static int close_listed(struct sidch_state *state, int directory)
{
    _Alignas(struct entry) char buffer[1024];
    long size;

    while ((size = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < size;) {
            const struct entry *entry = (const struct entry *)(buffer + at);
            int fd = parse_fd(entry->name);
            if (fd != directory && sidch_close_one(state, fd) < 0)
                return -errno;
            at += entry->length;
        }
    return size < 0 ? -errno : 0;
}

/* No /proc either: every number up to the hard limit, since the soft one may have been lowered below an open file. */
static int close_all(struct sidch_state *state)
{
    struct rlimit limit;
    int top = 1 << 20;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)top)
        top = (int)limit.rlim_max;
    for (int fd = 3; fd < top; fd++)
        if (sidch_close_one(state, fd) < 0)
            return -errno;
    return 0;
}

int sidch_os_close_others(struct sidch_state *state)
{
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result;

    if (directory < 0)
        return close_all(state);
    result = close_listed(state, directory);
    close(directory);
    return result < 0 ? close_all(state) : 0;
}

/* The kernel's sigaction. Only the handler is ever set, and it stands first (but on MIPS), so the rest is any zeroes.
 */
struct kernel_action {
    void (*handler)(int);
    unsigned long rest[7];
};

enum { SIGNALS = 64, SET_SIZE = SIGNALS / 8 };

static int set_disposition(int signal, void (*handler)(int))
{
    struct kernel_action action = {.handler = handler};

    return (int)syscall(SYS_rt_sigaction, signal, &action, NULL, (size_t)SET_SIZE);
}

static int is_caught(int signal)
{
    struct kernel_action action;

    return syscall(SYS_rt_sigaction, signal, NULL, &action, (size_t)SET_SIZE) == 0 && action.handler != SIG_DFL &&
           action.handler != SIG_IGN;
}

int sidch_os_dispositions(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;

    for (int signal = 1; signal <= SIGNALS; signal++) {
        uint64_t bit = (uint64_t)1 << (signal - 1);
        int result = 0;

        if (plan->ignore_signals & bit)
            result = set_disposition(signal, SIG_IGN);
        else if ((plan->default_signals & bit) ||
                 (!state->job->goes_on && !state->job->handlers_reset && is_caught(signal)))
            result = set_disposition(signal, SIG_DFL);
        if (result < 0)
            return sidch_fail(state, SID_CALL_SIGACTION, signal);
    }
    return 0;
}

/* Other children may share this memory just now, so no variable leads to the state: the stack does. */
struct sidch_state **sidch_os_anchor(void)
{
    return (struct sidch_state **)((uintptr_t)__builtin_frame_address(0) & ~((uintptr_t)SIDCH_STACK_SIZE - 1));
}

int sidch_os_set_mask(uint64_t mask, uint64_t more)
{
    (void)more;
    return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, (size_t)SET_SIZE) < 0 ? -errno : 0;
}

/* Not setrlimit(3), whose limits have 32 bits on some systems. */
int sidch_os_set_limit(int resource, uint64_t soft, uint64_t hard)
{
    const uint64_t limits[] = {soft, hard};

    return syscall(SYS_prlimit64, 0, resource, limits, NULL) < 0 ? -errno : 0;
}

int sidch_os_set_affinity(const unsigned long *cpus, size_t size)
{
    return syscall(SYS_sched_setaffinity, 0, size, cpus) < 0 ? -errno : 0;
}

int sidch_os_no_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
}

int sidch_os_set_parent_death_signal(int signal)
{
    return prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0UL, 0UL, 0UL);
}

int sidch_os_is_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, 0) > 0;
}

/* The older 32-bit architectures have their first calls of these names for ids of 16 bits. */
#ifdef SYS_setresuid32
enum { SETGROUPS = SYS_setgroups32, SETRESGID = SYS_setresgid32, SETRESUID = SYS_setresuid32 };
#else
enum { SETGROUPS = SYS_setgroups, SETRESGID = SYS_setresgid, SETRESUID = SYS_setresuid };
#endif

static int set_groups(size_t count, const unsigned *groups)
{
    return (int)syscall(SETGROUPS, count, groups);
}

static int set_group(unsigned group)
{
    return (int)syscall(SETRESGID, group, group, group);
}

static int set_user(unsigned user)
{
    return (int)syscall(SETRESUID, user, user, user);
}

/* libc's would tell all threads of the process, by signals, and this is one only. */
const struct sidch_ids sidch_os_ids = {set_groups, set_group, set_user};

/*
 * A robust futex: whoever held it is gone, says the kernel, when the address space that its list is in goes, by exec or
 * by the end. Nobody else can hold it, so unlike a pipe's end it tells even while strangers have copies.
 * set_robust_list(2)
 */
int sidch_os_tell_of_exec(struct sidch_page *page, struct sidch_robust_head *head)
{
    const uint32_t waiters = 0x80000000; /* FUTEX_WAITERS: somebody is to be woken */

    head->list = &page->robust;
    head->offset = offsetof(struct sidch_robust, word);
    head->pending = NULL;
    page->robust.next = (struct sidch_robust *)&head->list;
    if (syscall(SYS_set_robust_list, head, sizeof *head) < 0)
        return -errno;
    __atomic_store_n(&page->robust.word, (uint32_t)syscall(SYS_gettid) | waiters, __ATOMIC_RELEASE);
    return 0;
}
