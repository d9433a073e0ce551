/*
 * Linux: making the child on a stack of its own in the caller's frame.
 *
 * With shared memory (CLONE_VM | CLONE_VFORK) the calling thread sleeps until the child executes or ends, so that frame
 * stays, and the child costs the same whatever the size of the parent. clone3 adds CLONE_CLEAR_SIGHAND, which saves a
 * sigaction call for each signal, and CLONE_INTO_CGROUP, so that the child is never outside its cgroup.
 */
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../child/child.h"
#include "os.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef SYS_clone3
#define SYS_clone3 435 /* one number on all architectures */
#endif

static const uint64_t clear_sighand = 0x100000000; /* CLONE_CLEAR_SIGHAND, Linux 5.5 */
static const uint64_t into_cgroup = 0x200000000;   /* CLONE_INTO_CGROUP, Linux 5.7 */

/* struct clone_args. The first version ends with tls; only who asks for a cgroup needs the third. */
struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
};
enum { FIRST_VERSION = 64 };

/*
 * clone3 onto another stack. A C wrapper can't do it: the child would return from syscall() on an empty stack. So the
 * child goes from the kernel straight to `function`, which never returns.
 */
#if defined __x86_64__
static long clone3_onto(struct clone3_args *args, size_t size, int (*function)(void *), void *argument)
{
    register int (*r8)(void *) __asm__("r8") = function;
    register void *r9 __asm__("r9") = argument;
    long result;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r9, %%rdi\n\t"
                     "call *%%r8\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)SYS_clone3), "D"(args), "S"(size), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory", "cc");
    return result;
}
#elif defined __aarch64__
static long clone3_onto(struct clone3_args *args, size_t size, int (*function)(void *), void *argument)
{
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)size;
    register int (*x2)(void *) __asm__("x2") = function;
    register void *x3 __asm__("x3") = argument;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x30, xzr\n\t"
                     "mov x0, x3\n\t"
                     "blr x2\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
                     : "memory", "cc");
    return x0;
}
#else
static long clone3_onto(struct clone3_args *args, size_t size, int (*function)(void *), void *argument)
{
    (void)args, (void)size, (void)function, (void)argument;
    return -ENOSYS;
}
#endif

static int make(struct sidos_start *start, unsigned char *stack, size_t size, int flags, int exit_signal)
{
    void *told = start->shares_memory ? (void *)start->busy : (void *)&start->made;
    int pid;

    start->pidfd = -1; /* stays so where the kernel doesn't know CLONE_PIDFD */
    if (start->shares_memory)
        flags |= CLONE_VM | CLONE_VFORK | (start->busy ? CLONE_CHILD_CLEARTID : 0);
    else if (start->busy)
        flags |= CLONE_CHILD_SETTID; /* done before anything can end the child */
    if (start->by_clone3) {
        struct clone3_args args = {
            .flags = (uint64_t)flags | clear_sighand | (start->cgroup_fd < 0 ? 0 : into_cgroup) |
                     (start->busy ? CLONE_PARENT_SETTID : 0),
            .pidfd = (uint64_t)(uintptr_t)&start->pidfd,
            .parent_tid = (uint64_t)(uintptr_t)&start->made, /* where clone takes the pidfd's address */
            .child_tid = (uint64_t)(uintptr_t)told,
            .exit_signal = (uint64_t)exit_signal,
            .stack = (uint64_t)(uintptr_t)stack,
            .stack_size = size,
            .cgroup = start->cgroup_fd < 0 ? 0 : (uint64_t)start->cgroup_fd,
        };
        pid = (int)clone3_onto(&args, start->cgroup_fd < 0 ? FIRST_VERSION : sizeof args, start->main, start->argument);
    } else {
        pid = clone(start->main, stack + size, flags | exit_signal, start->argument, &start->pidfd, NULL, told);
        pid = pid < 0 ? -errno : pid;
    }
    return pid;
}

/* Not inlined: the stack must go when the child is gone, and no caller's locals may lie between. */
__attribute__((noinline)) static int start(struct sidos_start *start, int flags, int exit_signal)
{
    _Alignas(SIDCH_STACK_SIZE) unsigned char stack[SIDCH_STACK_SIZE];

    return make(start, stack, sizeof stack, flags, exit_signal);
}

int sidos_start_child(struct sidos_start *child)
{
    int pid = start(child, CLONE_PIDFD, SIGCHLD);

    if (pid == -EINVAL) /* an emulator that has no pidfds */
        pid = start(child, 0, SIGCHLD);
    /* qemu-user says 0 when it got no pidfd: that is a file of the program's */
    if (pid > 0 && child->pidfd == 0 && sidos_signal_pidfd(0, pid, 0) == -EBADF)
        child->pidfd = -1;
    return pid;
}

static int make_middle(struct sidos_start *middle, unsigned char *stack, size_t size)
{
    int files = middle->with_pidfd ? CLONE_FILES | CLONE_PIDFD : 0;
    int flags = files | (middle->shares_memory ? CLONE_SIGHAND : 0); /* which it leaves alone: spares a copy */
    int pid = make(middle, stack, size, flags, 0);

    if (pid == -EINVAL && !middle->with_pidfd) /* an emulator that knows SIGCHLD alone */
        pid = make(middle, stack, size, flags, SIGCHLD);
    return pid;
}

/*
 * The middle child's stack, which needs little, is what the alignment of the other's leaves: the larger one of two
 * parts that are as large as that together. The frame goes when both children are gone, also if somebody has ended the
 * middle child first: CLONE_CHILD_CLEARTID tells of that.
 */
__attribute__((noinline)) int sidos_start_middle(struct sidos_start *middle, struct sidos_start *program)
{
    unsigned char room[2 * SIDCH_STACK_SIZE];
    size_t below = -(uintptr_t)room & (SIDCH_STACK_SIZE - 1);
    size_t above = SIDCH_STACK_SIZE - below;
    unsigned char *end = room + below + SIDCH_STACK_SIZE;
    int pid;

    program->stack = room + below;
    pid = below > above ? make_middle(middle, room, below) : make_middle(middle, end, above);
    if (pid > 0 && middle->shares_memory) {
        sidos_reap_middle(pid);
        sidos_await_release(program, middle->pidfd, pid);
    }
    return pid;
}

int sidos_start_from_middle(void *argument, int by_clone3, int cgroup_fd)
{
    struct sidos_start *program = argument;

    program->by_clone3 = by_clone3;
    program->cgroup_fd = cgroup_fd;
    return make(program, program->stack, SIDCH_STACK_SIZE, program->with_pidfd ? CLONE_PIDFD : 0, SIGCHLD);
}

void sidos_reap_middle(int pid)
{
    struct sidos_ended ended;
    int result;

    while ((result = sidos_wait(pid, -1, WEXITED | WSTOPPED | __WALL, &ended)) == -EINTR ||
           (result == 0 && ended.code == CLD_STOPPED))
        if (result == 0)
            kill(pid, SIGCONT);
}

static int set_flag(void *flag)
{
    *(volatile int *)flag = 1;
    _exit(0);
}

/* 1: the child shared our memory; 0: it did not (an emulator forks instead); or -errno. No exit signal and __WALL, so
   that the program's SIGCHLD handler and its waits never meet this child; all signals blocked, so that none ends it. */
static int shares_memory(int way)
{
    volatile int flag = 0;
    struct sidos_start child = {.main = set_flag,
                                .argument = (void *)&flag,
                                .shares_memory = 1,
                                .by_clone3 = way == SID_WAY_CLONE3,
                                .cgroup_fd = -1};
    struct sidos_blocked was;
    int pid;

    sidos_block(&was);
    pid = start(&child, 0, 0);
    sidos_unblock(&was);
    if (pid < 0)
        return pid;
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
    return flag;
}

static int is_passing(int error)
{
    return error == -EAGAIN || error == -ENOMEM;
}

/*
 * Shared memory must be seen, not assumed: under qemu-user and valgrind vfork is fork, and errors written to memory
 * would be lost. Nobody promises there that the parent sleeps either, as a shared page needs: only the pipe is sure.
 */
int sidos_probe_way(enum sid_call *call)
{
    for (int way = SID_WAY_CLONE3; way <= SID_WAY_CLONE; way++) {
        int shared = shares_memory(way);
        *call = way == SID_WAY_CLONE3 ? SID_CALL_CLONE3 : SID_CALL_CLONE;
        if (shared > 0)
            return way;
        if (shared == 0)
            return SID_WAY_FORK;
        if (is_passing(shared))
            return shared;
    }
    return SID_WAY_FORK;
}
