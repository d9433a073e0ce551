/* Exits with the number that its argument is, or with 255 if a file descriptor other than 0, 1 and 2 is open. */
#include <dirent.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;

    if (count != 2 || !directory)
        return 254;
    while ((entry = readdir(directory)))
        if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(directory))
            return 255;
    return atoi(arguments[1]);
}
