/* What a child has used, in the order of struct sid_child. */
#include <string.h>
#include <sys/resource.h>

#include "os.h"

static int64_t microseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

void sidos_copy_usage(int64_t *to, const struct rusage *from)
{
    const int64_t usage[16] = {microseconds(&from->ru_utime),
                               microseconds(&from->ru_stime),
                               from->ru_maxrss,
                               from->ru_ixrss,
                               from->ru_idrss,
                               from->ru_isrss,
                               from->ru_minflt,
                               from->ru_majflt,
                               from->ru_nswap,
                               from->ru_inblock,
                               from->ru_oublock,
                               from->ru_msgsnd,
                               from->ru_msgrcv,
                               from->ru_nsignals,
                               from->ru_nvcsw,
                               from->ru_nivcsw};

    memcpy(to, usage, sizeof usage);
}
