/* A process whose main thread has ended while another lives, until its stdin ends. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *live(void *unused)
{
    char byte;

    if (read(0, &byte, 1) < 0)
        exit(1);
    return unused;
}

int main(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, live, NULL))
        return 1;
    pthread_exit(NULL);
}
