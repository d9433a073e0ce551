/* Linux: the two sides of a pseudo-terminal, by ioctl alone: a path may lead to the terminal of another devpts. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os.h"

#ifndef TIOCGPTPEER /* older headers than Linux 4.13's */
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static int failed(int *call, int which)
{
    *call = which;
    return -errno;
}

/* Not posix_openpt and grantpt: those of old C libraries look for /dev/pts, and may run a helper program. */
int sidos_open_manager(int *call)
{
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), locked = 0;

    if (fd < 0)
        return failed(call, SID_CALL_OPEN);
    if (ioctl(fd, TIOCSPTLCK, &locked) < 0) {
        int result = failed(call, SID_CALL_TIOCSPTLCK);
        close(fd);
        return result;
    }
    return fd;
}

int sidos_pty_number(int manager)
{
    unsigned number;

    return ioctl(manager, TIOCGPTN, &number) < 0 ? -errno : (int)number;
}

/* By the manager itself since Linux 4.13, so that no path is needed: its devpts may not be mounted at /dev/pts. */
int sidos_open_terminal(int manager, int *call)
{
    int flags = O_RDWR | O_NOCTTY | O_CLOEXEC, fd = ioctl(manager, TIOCGPTPEER, flags);
    char path[32];

    if (fd >= 0)
        return fd;
    if (errno != ENOTTY && errno != EINVAL)
        return failed(call, SID_CALL_TIOCGPTPEER);
    snprintf(path, sizeof path, "/dev/pts/%d", sidos_pty_number(manager));
    fd = open(path, flags);
    return fd < 0 ? failed(call, SID_CALL_OPEN) : fd;
}

/* With O_ASYNC, SIGIO is what is sent in any case. Who opens a file finds 0 there: so it tells our files from those. */
int sidos_mark(int fd)
{
    return fcntl(fd, F_SETSIG, SIGIO) < 0 && errno != EINVAL ? -errno : 0;
}

int sidos_is_marked(int fd)
{
    int mark = fcntl(fd, F_GETSIG);

    return mark == SIGIO || (mark < 0 && errno == EINVAL); /* a system that can't mark any */
}
