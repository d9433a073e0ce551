/* One thin wrapper a system call. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "os/os.h"

static int checked(int result)
{
    return result < 0 ? -errno : result;
}

int sid_setsid(void)
{
    return checked(setsid());
}

int sid_getsid(int pid)
{
    return checked(getsid(pid));
}

int sid_setpgid(int pid, int pgid)
{
    return checked(setpgid(pid, pgid));
}

int sid_getpgid(int pid)
{
    return checked(getpgid(pid));
}

int sid_tcgetsid(int fd)
{
    return checked(tcgetsid(fd));
}

int sid_tcgetpgrp(int fd)
{
    return sidos_foreground(checked(tcgetpgrp(fd)));
}

/* From the background tcsetpgrp sends SIGTTOU to the caller's whole group, unless the caller blocks it. */
int sid_tcsetpgrp(int fd, int pgid)
{
    sigset_t stop, old;
    int result;

    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &stop, &old);
    result = checked(tcsetpgrp(fd, pgid));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}

int sid_acquire_ctty(int fd, int steal)
{
    return checked(ioctl(fd, TIOCSCTTY, steal ? 1 : 0));
}

int sid_release_ctty(int fd)
{
    return sidos_release_ctty(fd);
}

int sid_pipe(int *ends)
{
    return sidos_pipe(ends);
}

int sid_copy_from(int fd, int least)
{
    return checked(fcntl(fd, F_DUPFD_CLOEXEC, least));
}

int sid_lock(int fd, int byte)
{
    return sidos_lock(fd, byte);
}

int sid_unlock(int fd, int byte)
{
    return sidos_unlock(fd, byte);
}

int sid_is_locked(int fd, int byte)
{
    return sidos_is_locked(fd, byte);
}

int sid_fd_flags(int fd)
{
    return checked(fcntl(fd, F_GETFL));
}

int sid_is_terminal(int fd)
{
    if (isatty(fd))
        return 1;
    return errno == EBADF ? -EBADF : 0;
}

int sid_is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

uint64_t sid_python_ignored_signals(void)
{
    return (uint64_t)1 << (SIGPIPE - 1) | (uint64_t)1 << (SIGXFSZ - 1);
}
