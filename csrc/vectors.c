/*
 * argv and the candidates for execve, in one block of memory.
 *
 * They point into blocks of bytes that Python made for this one call: the GIL is not held here, so a list that another
 * thread may change would not do.
 */
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

/* Where glibc's execvp looks if PATH is not set; the same on all systems. */
static const char default_path[] = "/bin:/usr/bin";

int sid_point(const char **at, const char *strings, size_t size, int count)
{
    const char *string = strings;
    const char *end = strings + size;

    for (int i = 0; i < count; i++) {
        if (string > end)
            return -EINVAL;
        *at++ = string;
        string += strlen(string) + 1;
    }
    *at = NULL;
    return count == 0 || string == end + 1 ? 0 : -EINVAL;
}

static const char *search_path(const char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return default_path;
}

static size_t candidates_size(const char *path, const char *program)
{
    size_t count = 1;

    for (const char *at = path; *at; at++)
        count += *at == ':';
    return strlen(path) + count * (strlen(program) + 2);
}

/* Each directory of `path` and the program; an empty one is the child's working directory. How many there are. */
static int write_candidates(char *to, const char *path, const char *program)
{
    size_t name_size = strlen(program) + 1;

    for (int count = 1;; count++) {
        size_t size = strcspn(path, ":");
        memcpy(to, path, size);
        to += size;
        if (size)
            *to++ = '/';
        memcpy(to, program, name_size);
        to += name_size;
        if (!path[size])
            return count;
        path += size + 1;
    }
}

int sidh_make_vectors(struct sid_vectors *vectors, const char *executable, const char *argv, size_t argv_size, int argc,
                      const char *const *envp, int scratch)
{
    const char *program = executable ? executable : argv;
    const char *path = !*program || strchr(program, '/') ? NULL : search_path(envp);
    size_t pointers = (size_t)argc + 1;

    vectors->argv = malloc(pointers * sizeof(char *) + (size_t)scratch * sizeof(int) +
                           (path ? candidates_size(path, program) : 0));
    if (!vectors->argv)
        return -ENOMEM;
    if (sid_point(vectors->argv, argv, argv_size, argc) < 0) {
        sidh_free_vectors(vectors);
        return -EINVAL;
    }
    vectors->scratch = (int *)(vectors->argv + pointers);
    vectors->paths = program;
    vectors->path_count = 1;
    if (path) {
        char *room = (char *)(vectors->scratch + scratch);
        vectors->paths = room;
        vectors->path_count = write_candidates(room, path, program);
    }
    return 0;
}

void sidh_free_vectors(struct sid_vectors *vectors)
{
    free(vectors->argv);
}
