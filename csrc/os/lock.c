/* Locks that belong to the open file: a forked child shares them, and only the last close gives them up. */
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "os.h"

#ifndef F_OFD_SETLK
#if defined __APPLE__ /* the kernel has them; headers before macOS 14 keep them private */
enum { F_OFD_SETLK = 90, F_OFD_GETLK = 92 };
#elif defined __linux__
enum { F_OFD_GETLK = 36, F_OFD_SETLK };
#else /* FreeBSD: it says EINVAL */
enum { F_OFD_SETLK = 1 << 30, F_OFD_GETLK };
#endif
#endif

static struct flock byte_of(int byte, int type)
{
    return (struct flock){.l_type = (short)type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

/* On FreeBSD, before Linux 3.15, and in file systems that have no others: a lock of the whole file, which stands for
   byte 0. */
static int lock_file(int fd, int byte, int operation)
{
    return byte != 0 || flock(fd, operation | LOCK_NB) == 0 ? 0 : -errno;
}

int sidos_lock(int fd, int byte)
{
    struct flock lock = byte_of(byte, F_WRLCK);

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EINVAL ? lock_file(fd, byte, LOCK_EX) : errno == EACCES ? -EAGAIN : -errno;
}

int sidos_unlock(int fd, int byte)
{
    struct flock lock = byte_of(byte, F_UNLCK);

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EINVAL ? lock_file(fd, byte, LOCK_UN) : -errno;
}

/* By a lock for writing, which only who may write the file can have: a reader's would stop nobody who asks for the
 * same. */
int sidos_is_locked(int fd, int byte)
{
    struct flock lock = byte_of(byte, F_RDLCK);
    int result;

    if (fcntl(fd, F_OFD_GETLK, &lock) == 0)
        return lock.l_type != F_UNLCK;
    if (errno != EINVAL || byte != 0)
        return errno == EINVAL ? 1 : -errno;
    result = lock_file(fd, byte, LOCK_SH);
    if (result == 0)
        lock_file(fd, byte, LOCK_UN);
    return result == -EAGAIN ? 1 : result;
}
