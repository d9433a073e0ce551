/* Pseudo-terminals, and what a terminal is set to. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "os/os.h"

static int failed(int *call, int which)
{
    *call = which;
    return -errno;
}

static int open_manager(int *call)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return failed(call, SID_CALL_POSIX_OPENPT);
    if (grantpt(fd) < 0 || unlockpt(fd) < 0) {
        int result = failed(call, SID_CALL_UNLOCKPT);
        close(fd);
        return result;
    }
    return fd;
}

int sid_open_pty(int *ends, int *call)
{
    int manager = open_manager(call), terminal;

    if (manager < 0)
        return manager;
    terminal = sidos_open_terminal(manager);
    if (terminal < 0) {
        *call = SID_CALL_OPEN;
        close(manager);
        return terminal;
    }
    ends[0] = manager;
    ends[1] = terminal;
    return 0;
}

int sid_open_terminal(int manager, int *terminal)
{
    int fd = sidos_open_terminal(manager);

    if (fd >= 0)
        *terminal = fd;
    return fd < 0 ? fd : 0;
}

int sid_pty_name(int manager, char *name, int room)
{
    int error = ptsname_r(manager, name, (size_t)room);

    return error ? -(error > 0 ? error : errno) : 0;
}

int sid_get_size(int fd, int *rows, int *columns)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return -errno;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}

/* The size in pixels, if anybody has told it, is that of the old size: no size is better than a wrong one. */
int sid_set_size(int fd, int rows, int columns)
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

    return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int sid_get_modes(int fd, char *modes, int room)
{
    struct termios found;

    if ((size_t)room < sizeof found)
        return -EINVAL;
    if (tcgetattr(fd, &found) < 0)
        return -errno;
    memcpy(modes, &found, sizeof found);
    return (int)sizeof found;
}

/* From the background tcsetattr sends SIGTTOU to the caller's whole group, unless the caller blocks it. */
int sid_set_modes(int fd, const char *modes)
{
    struct termios wanted;
    sigset_t stop, old;
    int result;

    memcpy(&wanted, modes, sizeof wanted);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &stop, &old);
    result = tcsetattr(fd, TCSANOW, &wanted) < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}
