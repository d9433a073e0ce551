/* Linux: signals, pidfds, waiting. */
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../child/child.h"
#include "os.h"

/* Their numbers are the same on all architectures; old headers lack them. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#ifndef SYS_futex_time64
#define SYS_futex_time64 422
#endif

enum { BY_PIDFD = 3 /* P_PIDFD, Linux 5.4 */ };

const int sidos_has_pidfds = 1;
const int sidos_any_child = __WALL;

/* The raw call, since libc's leaves out the signals that it uses itself, and lets nobody see them in the old mask. */
static void block(uint64_t signals, struct sidos_blocked *was)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was->cancellation);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &signals, &was->mask, sizeof signals);
}

void sidos_block(struct sidos_blocked *was)
{
    block(~(uint64_t)0, was);
}

void sidos_block_all_but_libcs(struct sidos_blocked *was)
{
    block(~((uint64_t)7 << 31), was); /* 32 to 34 */
}

void sidos_unblock(const struct sidos_blocked *was)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &was->mask, NULL, sizeof was->mask);
    pthread_setcancelstate(was->cancellation, NULL);
}

int sidos_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

void sidos_name_thread(const char *name)
{
    prctl(PR_SET_NAME, name, 0UL, 0UL, 0UL);
}

int sidos_open_directory(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int sidos_check_cgroup(int fd)
{
    const long cgroup2 = 0x63677270; /* CGROUP2_SUPER_MAGIC */
    struct statfs system;

    if (fstatfs(fd, &system) < 0)
        return -errno;
    return (long)system.f_type == cgroup2 ? 0 : -EINVAL;
}

/* What a link to a namespace reads: to read it takes half the time of stat. */
struct namespace {
    char name[32]; /* "pid:[4026531836]" */
};

static int read_namespace(const char *path, struct namespace *namespace)
{
    *namespace = (struct namespace){0};
    return readlink(path, namespace->name, sizeof namespace->name - 1) < 0 ? -errno : 0;
}

/* The pid namespace of this process: it keeps that for as long as it lives, but the child that it forks may be in
   another one, and, since each has a process 1, under the same number. */
static struct namespace own_namespace;
static int owner_of_namespace;
static pthread_once_t forgets_namespace = PTHREAD_ONCE_INIT;

static void forget_namespace(void)
{
    owner_of_namespace = 0;
}

static void forget_namespace_at_fork(void)
{
    pthread_atfork(NULL, NULL, forget_namespace);
}

static int know_own_namespace(void)
{
    struct namespace own;
    int result;

    pthread_once(&forgets_namespace, forget_namespace_at_fork);
    if (__atomic_load_n(&owner_of_namespace, __ATOMIC_ACQUIRE) == getpid())
        return 0;
    if ((result = read_namespace("/proc/self/ns/pid", &own)) < 0)
        return result;
    own_namespace = own; /* other threads write the same */
    __atomic_store_n(&owner_of_namespace, getpid(), __ATOMIC_RELEASE);
    return 0;
}

int sidos_next_child_is_init(void)
{
    const char *for_children = "/proc/thread-self/ns/pid_for_children"; /* Linux 4.12 */
    struct namespace next;
    struct stat link;
    int result;

    if (know_own_namespace() < 0)
        return 0;
    result = read_namespace(for_children, &next);
    if (result < 0) /* until the namespace has its init, the link leads nowhere */
        return result == -ENOENT && lstat(for_children, &link) == 0;
    return memcmp(&own_namespace, &next, sizeof next) != 0;
}

int sidos_open_pidfd(int pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0U);

    return fd < 0 ? -errno : fd;
}

int sidos_open_readable(void)
{
    int fd = eventfd(1, EFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

uint64_t sidos_mark_pidfd(int fd)
{
    struct stat file;

    return fd >= 0 && fstat(fd, &file) == 0 ? (uint64_t)file.st_ino : 0;
}

/* By the inode: since Linux 6.9 a process's pidfds have one that is theirs alone. */
int sidos_is_that_pidfd(int fd, uint64_t mark)
{
    return sidos_mark_pidfd(fd) == mark;
}

int sidos_signal_pidfd(int pidfd, int pid, int signal)
{
    (void)pid;
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0U) < 0 ? -errno : 0;
}

int sidos_signal_led_group(int pidfd, int pid, int signal)
{
    const unsigned to_group = 1U << 2; /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */

    (void)pid;
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, to_group) < 0 ? -errno : 0;
}

/* struct pidfd_info of linux/pidfd.h (6.13), as far as it is needed; the exit status is told since 6.15. */
struct pidfd_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};

/* 1: told; 0: not yet; -1: this kernel never will. The raw call, since the libcs differ in the type of a request. */
static int ask_status(int pidfd, int *status)
{
    const uint64_t exit_known = 1U << 3;
    struct pidfd_info info = {.mask = exit_known};

    if (pidfd < 0 || syscall(SYS_ioctl, pidfd, _IOWR(0xFF, 11, struct pidfd_info), &info) < 0)
        return -1;
    *status = info.exit_code;
    return (info.mask & exit_known) != 0;
}

/* With SIGCHLD ignored waitid knows nothing of a dying child a moment before the pidfd knows its status: until the
   process can't even be signalled any more. */
int sidos_status_of_reaped(int pidfd, int *status)
{
    for (int tries = 0; tries < 200; tries++) {
        struct timespec moment = {0, tries < 100 ? 100000 : 10000000}; /* on a busy machine it may not run for long */
        int is_gone = pidfd >= 0 && sidos_signal_pidfd(pidfd, 0, 0) == -ESRCH;
        int told = ask_status(pidfd, status);
        if (told)
            return told > 0 ? 0 : -1;
        if (is_gone)
            return -1;
        nanosleep(&moment, NULL);
    }
    return -1;
}

/* The raw waitid has a fifth argument: the usage of this one child. */
int sidos_wait(int pid, int pidfd, int options, struct sidos_ended *ended)
{
    siginfo_t info = {0};
    struct rusage usage = {0};
    long result = -1;

    errno = EINVAL;
    if (pidfd >= 0)
        result = syscall(SYS_waitid, BY_PIDFD, pidfd, &info, options, &usage);
    if (result < 0 && errno == EINVAL) /* no pidfd, or a kernel that has pidfds but can't wait for one (5.3) */
        result = syscall(SYS_waitid, P_PID, pid, &info, options, &usage);
    if (result < 0)
        return -errno;
    ended->code = info.si_pid ? info.si_code : 0;
    ended->status = info.si_status;
    ended->has_usage = 1;
    sidos_copy_usage(ended->usage, &usage);
    return 0;
}

int sidos_poll(struct pollfd *files, unsigned count, const struct timespec *timeout)
{
    int ready = ppoll(files, count, timeout, NULL);

    return ready < 0 ? -errno : ready;
}

int sidos_pipe(int *ends)
{
    return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
}

int sidos_signal_group(int group, int signal)
{
    return kill(-group, signal) < 0 ? -errno : 0;
}

int sidos_foreground(int group)
{
    return group;
}

int sidos_release_ctty(int fd)
{
    return ioctl(fd, TIOCNOTTY) < 0 ? -errno : 0;
}

/* libc's, since a raw call would change the calling thread only. */
static int set_groups(size_t count, const unsigned *groups)
{
    return setgroups(count, groups);
}

static int set_group(unsigned group)
{
    return setresgid(group, group, group);
}

static int set_user(unsigned user)
{
    return setresuid(user, user, user);
}

const struct sidch_ids *sidos_process_ids(void)
{
    static const struct sidch_ids ids = {set_groups, set_group, set_user};

    return &ids;
}

/* The raw call, for which libc has no name. A wake, another value, a signal, the time: the caller looks again. */
void sidos_await_word(uint32_t *word, uint32_t value, int milliseconds)
{
    const int wait = 0; /* FUTEX_WAIT, not private: the waker is another process */
    struct timespec time = {0, milliseconds * 1000000L};

    syscall(sizeof time.tv_sec > sizeof(long) ? SYS_futex_time64 : SYS_futex, word, wait, value, &time, NULL, 0);
}

int sidos_proc_is_ours(void)
{
    char self[16], target[16];
    ssize_t size = readlink("/proc/self", target, sizeof target);

    snprintf(self, sizeof self, "%d", (int)getpid());
    return size == (ssize_t)strlen(self) && memcmp(self, target, (size_t)size) == 0;
}

int sidos_has_executed(int pid, int fd, int pipe_fd, int is_like_us)
{
    char path[40];
    struct stat theirs, ours;

    if (!sidos_proc_is_ours())
        return 0;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    if (stat(path, &theirs) < 0) /* EACCES: we could look into the copy of ourselves; a set-uid program has its place */
        return errno == ENOENT || (errno == EACCES && is_like_us && prctl(PR_GET_DUMPABLE) == 1);
    return fstat(pipe_fd, &ours) == 0 && theirs.st_ino != ours.st_ino;
}
