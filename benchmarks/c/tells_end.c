/* Sleeps for argv[1] microseconds, writes the monotonic time in nanoseconds to stdout, and ends at once. */
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long microseconds = argc > 1 ? atol(argv[1]) : 0;
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    int64_t now;

    nanosleep(&time, NULL);
    clock_gettime(CLOCK_MONOTONIC, &time);
    now = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    _exit(write(1, &now, sizeof now) != sizeof now);
}
