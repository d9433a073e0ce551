/* macOS and FreeBSD: the terminal side of a pseudo-terminal, by its path. */
#include <fcntl.h>
#include <unistd.h>

#include "bsd.h"

/* macOS would make it the controlling terminal of a session leader that has none. */
int sidos_open_terminal(int manager, int *call)
{
    char path[128];
    int fd, result = sidos_path_of_terminal(manager, path, sizeof path);

    *call = SID_CALL_OPEN;
    if (result < 0)
        return result;
    fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Nothing of an open file is left for a mark: to set its owner (F_SETOWN) would set the terminal's foreground group. So
   its number and its device have to do. */
int sidos_mark(int fd)
{
    (void)fd;
    return 0;
}

int sidos_is_marked(int fd)
{
    (void)fd;
    return 1;
}
