/*
 * How much of its stack the child uses at most: paints the stack, runs plans on it that go the deepest ways, and prints
 * the peak of each in bytes, and the size of the kernel's signal frame.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/child.h"
#include "native.h"

enum { PAINT = 0xA5, CANDIDATES = 300 };

static unsigned char *stack;
static struct sid_report *page;

/* Shared, so that the paint shows in the parent whether the child shares its memory or not. */
static void make_stack(void)
{
    char *room = mmap(NULL, 2 * SIDCH_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(room != MAP_FAILED);
    stack = (unsigned char *)(((uintptr_t)room + SIDCH_STACK_SIZE - 1) & ~((uintptr_t)SIDCH_STACK_SIZE - 1));
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
}

/* The stack's base holds a pointer for the stop handler: not counted. */
static size_t peak(void)
{
    size_t lowest = sizeof(void *);

    while (lowest < SIDCH_STACK_SIZE && stack[lowest] == PAINT)
        lowest++;
    return SIDCH_STACK_SIZE - lowest;
}

/* As under a kernel or a sandbox without close_range: every fd is looked for and marked by itself. */
static void deny_close_range(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    CHECK(syscall(SYS_close_range, 1000U, 1001U, 0U) < 0 && errno == ENOSYS);
}

/* Stop signals wait for the child's unmask, and there run its handler on its stack. */
static int stopped_child(void *job)
{
    kill(getpid(), SIGTSTP);
    kill(getpid(), SIGTTIN);
    kill(getpid(), SIGTTOU);
    return sidch_main(job);
}

static size_t measure(const char *name, struct sidch_job *job, int (*child)(void *), int flags, int terminal)
{
    const sigset_t all = {{~0UL}};
    sigset_t before;
    int status, pid;
    size_t used;

    memset(stack, PAINT, SIDCH_STACK_SIZE);
    memset(page, 0, sizeof *page);
    job->report = page;
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = clone(child, stack + SIDCH_STACK_SIZE, flags | SIGCHLD, job);
    sigprocmask(SIG_SETMASK, &before, NULL);
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    CHECK(page->stage == SID_STAGE_EXEC && page->error == EACCES);
    if (child == stopped_child)
        CHECK(page->stops == (1 << SIGTSTP | 1 << SIGTTIN | 1 << SIGTTOU));
    CHECK(tcgetpgrp(terminal) == getpgrp()); /* given back */
    used = peak();
    printf("%s %zu\n", name, used);
    return used;
}

static char *const words[] = {"program", NULL};
static char paths[CANDIDATES * 32];
static int scratch[64];

/* Candidates that are not there, and one in the middle that may not be executed. */
static void make_paths(void)
{
    char *at = paths;

    for (int i = 0; i < CANDIDATES; i++)
        at += sprintf(at, i == CANDIDATES / 2 ? "/" : "/nonexistent/%d/program", i) + 1;
}

static const struct sid_rlimit limits[] = {{.resource = RLIMIT_CORE}};
static const unsigned long cpus[] = {~0UL, ~0UL};

/* Every fd of the plan is lifted, moved and marked. */
static struct sid_plan full_plan(struct sid_fd_move *moves, int terminal)
{
    for (int i = 0; i < 60; i++)
        moves[i] = (struct sid_fd_move){.source = i % 3 ? i % 3 : SID_SOURCE_DEVNULL, .target = i + 3, .lift = i % 3};
    return (struct sid_plan){.process_group = 0,
                             .ctty = -1,
                             .foreground_tty = terminal,
                             .cgroup_fd = -1,
                             .close_fds = 1,
                             .rlimit_count = 1,
                             .rlimits = limits,
                             .cpus_size = sizeof cpus,
                             .cpus = cpus,
                             .sets_oom_score_adj = 1,
                             .oom_score_adj = 1000,
                             .umask = 022,
                             .sets_user = 1,
                             .user = getuid(),
                             .no_new_privileges = 1,
                             .parent_death_signal = SIGTERM,
                             .cwd_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                             .cwd = "/",
                             .default_signals = ~(uint64_t)0 >> 32 & ~(1U << (SIGKILL - 1) | 1U << (SIGSTOP - 1)),
                             .ignore_signals = 1U << (SIGHUP - 1),
                             .move_count = 60,
                             .moves = moves};
}

/* A session of our own with a controlling terminal, at a number that no move overwrites. */
static int take_terminal(void)
{
    int manager = posix_openpt(O_RDWR | O_NOCTTY);
    int terminal;

    CHECK(manager >= 0 && grantpt(manager) == 0 && unlockpt(manager) == 0);
    CHECK(setsid() > 0);
    terminal = open(ptsname(manager), O_RDWR);
    CHECK(terminal >= 0 && tcgetpgrp(terminal) == getpgrp());
    CHECK(dup2(terminal, 200) == 200);
    return 200;
}

int main(void)
{
    struct sid_fd_move moves[60];
    int terminal = take_terminal();
    struct sid_plan plan = full_plan(moves, terminal);
    struct sidch_job job = {.plan = &plan,
                            .paths = paths,
                            .path_count = CANDIDATES,
                            .argv = words,
                            .envp = words,
                            .scratch = scratch,
                            .cgroup_fd = -1,
                            .ids = &sidch_os_ids,
                            .parent_pidfd = -1,
                            .report_fd = -1};

    make_paths();
    make_stack();
    measure("vm_close_range", &job, sidch_main, CLONE_VM | CLONE_VFORK, terminal);
    deny_close_range();
    measure("vm", &job, sidch_main, CLONE_VM | CLONE_VFORK, terminal);
    measure("vm_stopped", &job, stopped_child, CLONE_VM | CLONE_VFORK, terminal);
    measure("page", &job, sidch_main, CLONE_VFORK, terminal);
    measure("page_stopped", &job, stopped_child, CLONE_VFORK, terminal);
    measure("fork", &job, sidch_main, 0, terminal);
    measure("fork_stopped", &job, stopped_child, 0, terminal);
    printf("signal_frame %lu\n", getauxval(AT_MINSIGSTKSZ));
    return 0;
}
