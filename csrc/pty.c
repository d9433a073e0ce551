/* Pseudo-terminals: opened, measured, and closed without harm to a file that has got one of their numbers since. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "os/os.h"

static int open_terminal(struct sid_pty *pty, int *call)
{
    int fd = sidos_open_terminal(pty->manager, call), mark, none = -1;

    if (fd < 0)
        return fd;
    mark = sidos_mark(fd);
    if (mark < 0)
        *call = SID_CALL_FCNTL;
    if (mark < 0 || !__atomic_compare_exchange_n(&pty->terminal, &none, fd, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        close(fd); /* another thread has opened it meanwhile */
    return mark;
}

static int identify(struct sid_pty *pty, int *call)
{
    struct stat found;
    int mark = sidos_mark(pty->manager);

    *call = SID_CALL_FCNTL;
    if (mark < 0)
        return mark;
    pty->number = sidos_pty_number(pty->manager);
    if (pty->number < 0 || fstat(pty->terminal, &found) < 0)
        return -errno;
    pty->device = (uint64_t)found.st_dev;
    pty->inode = (uint64_t)found.st_ino;
    return 0;
}

int sid_open_pty(struct sid_pty *pty, int rows, int columns, int *call)
{
    int manager = sidos_open_manager(call), result;

    pty->manager = manager;
    pty->terminal = -1;
    if (manager < 0)
        return manager;
    result = open_terminal(pty, call);
    if (result == 0)
        result = identify(pty, call);
    if (result == 0) {
        *call = SID_CALL_TIOCSWINSZ;
        result = sid_set_size(manager, rows, columns);
    }
    if (result < 0) {
        if (pty->terminal >= 0)
            close(pty->terminal);
        close(manager);
        pty->manager = pty->terminal = -1;
    }
    return result;
}

int sid_reopen_terminal(struct sid_pty *pty, int *call)
{
    return open_terminal(pty, call);
}

static int is_manager(const struct sid_pty *pty, int fd)
{
    return sidos_is_marked(fd) && sidos_pty_number(fd) == pty->number;
}

static int is_terminal(const struct sid_pty *pty, int fd)
{
    struct stat found;

    return sidos_is_marked(fd) && fstat(fd, &found) == 0 && (uint64_t)found.st_dev == pty->device &&
           (uint64_t)found.st_ino == pty->inode;
}

int sid_take_manager(struct sid_pty *pty)
{
    int fd = __atomic_exchange_n(&pty->manager, -1, __ATOMIC_ACQ_REL);

    return fd >= 0 && is_manager(pty, fd) ? fd : -EBADF;
}

void sid_close_manager(struct sid_pty *pty)
{
    int fd = sid_take_manager(pty);

    if (fd >= 0)
        close(fd);
}

void sid_close_terminal(struct sid_pty *pty)
{
    int fd = __atomic_exchange_n(&pty->terminal, -1, __ATOMIC_ACQ_REL);

    if (fd >= 0 && is_terminal(pty, fd))
        close(fd);
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
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns}, old;

    if (ioctl(fd, TIOCGWINSZ, &old) == 0 && old.ws_row == size.ws_row && old.ws_col == size.ws_col)
        return 0;
    return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
