/* Pseudo-terminals: opened, measured, and closed without harm to a file that has got one of their numbers since. */
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "os/os.h"

/*
 * Somebody else may close a number of ours, and another pty get it: until that has taken it from the first, nobody may
 * close one. So all that opens and closes is under one lock, which no fork may find held: it would stay so in the
 * child.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sid_pty *all;

static void enter(void)
{
    pthread_mutex_lock(&lock);
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(enter, leave, leave);
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

static int take_manager(struct sid_pty *pty)
{
    int fd = pty->manager;

    pty->manager = -1;
    return fd >= 0 && is_manager(pty, fd) ? fd : -EBADF;
}

static void close_manager(struct sid_pty *pty)
{
    int fd = take_manager(pty);

    if (fd >= 0)
        close(fd);
}

static void close_terminal(struct sid_pty *pty)
{
    int fd = pty->terminal;

    pty->terminal = -1;
    if (fd >= 0 && is_terminal(pty, fd))
        close(fd);
}

static int refuse(int fd, int result, int *call)
{
    *call = SID_CALL_FCNTL;
    close(fd);
    return result;
}

/* A file that has just been opened: whoever had its number has lost it. */
static int mark(int fd, int *call)
{
    int result = sidos_mark(fd);

    for (struct sid_pty *other = all; other; other = other->next) {
        if (other->manager == fd)
            other->manager = -1;
        if (other->terminal == fd)
            other->terminal = -1;
    }
    return result < 0 ? refuse(fd, result, call) : 0;
}

static int open_manager(struct sid_pty *pty, int *call)
{
    int fd = sidos_open_manager(call), result = fd < 0 ? fd : mark(fd, call);

    if (result < 0)
        return result;
    pty->number = sidos_pty_number(fd);
    if (pty->number < 0)
        return refuse(fd, pty->number, call);
    pty->manager = fd;
    return 0;
}

static int open_terminal(struct sid_pty *pty, int *call)
{
    int fd = sidos_open_terminal(pty->manager, call), result = fd < 0 ? fd : mark(fd, call);
    struct stat found;

    if (result < 0)
        return result;
    if (fstat(fd, &found) < 0)
        return refuse(fd, -errno, call);
    pty->device = (uint64_t)found.st_dev;
    pty->inode = (uint64_t)found.st_ino;
    pty->terminal = fd;
    return 0;
}

static int open_both(struct sid_pty *pty, int rows, int columns, int *call)
{
    int result = open_manager(pty, call);

    if (result == 0)
        result = open_terminal(pty, call);
    if (result == 0) {
        *call = SID_CALL_TIOCSWINSZ;
        result = sid_set_size(pty->manager, rows, columns);
    }
    return result;
}

int sid_open_pty(struct sid_pty *pty, int rows, int columns, int *call)
{
    int result;

    enter();
    *pty = (struct sid_pty){.manager = -1, .terminal = -1};
    result = open_both(pty, rows, columns, call);
    if (result < 0) {
        close_terminal(pty);
        close_manager(pty);
    } else {
        pty->next = all;
        all = pty;
    }
    leave();
    return result;
}

int sid_reopen_terminal(struct sid_pty *pty, int *call)
{
    int result;

    enter();
    result = pty->terminal < 0 ? open_terminal(pty, call) : 0; /* another thread has opened it meanwhile */
    leave();
    return result;
}

int sid_take_manager(struct sid_pty *pty)
{
    int fd;

    enter();
    fd = take_manager(pty);
    leave();
    return fd;
}

void sid_close_terminal(struct sid_pty *pty)
{
    enter();
    close_terminal(pty);
    leave();
}

void sid_close_pty(struct sid_pty *pty)
{
    struct sid_pty **at = &all;

    enter();
    close_terminal(pty);
    close_manager(pty);
    while (*at && *at != pty)
        at = &(*at)->next;
    if (*at)
        *at = pty->next;
    leave();
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
