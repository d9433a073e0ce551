/*
 * argv, envp and the candidates for execve, in one block of memory.
 *
 * They point into blocks of bytes that Python made for this one call: the GIL is not held here, so a list that another
 * thread may change would not do.
 */
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

/* What execvp takes where PATH is not set. */
static const char default_path[] = "/bin:/usr/bin";

/* Points at each string and ends with NULL; where to go on, or NULL if the strings do not fill their size exactly: one
   of them holds a NUL. */
static char **point(char **at, const struct sid_strings *strings)
{
    const char *string = strings->bytes;
    const char *end = string + strings->size;

    for (int i = 0; i < strings->count; i++) {
        if (string > end)
            return NULL;
        *at++ = (char *)string;
        string += strlen(string) + 1;
    }
    *at++ = NULL;
    return strings->count == 0 || string == end + 1 ? at : NULL;
}

static const char *search_path(const struct sid_strings *env)
{
    const char *variable = env->bytes;

    for (int i = 0; i < env->count && variable < env->bytes + env->size; i++) {
        if (strncmp(variable, "PATH=", 5) == 0)
            return variable + 5;
        variable += strlen(variable) + 1;
    }
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

int sid_make_vectors(struct sid_vectors *vectors, const char *executable, const struct sid_strings *argv,
                     const struct sid_strings *env, int scratch)
{
    const char *program = executable ? executable : argv->bytes;
    const char *path = !*program || strchr(program, '/') ? NULL : search_path(env);
    size_t pointers = (size_t)argv->count + (size_t)env->count + 2;
    char **at;

    vectors->argv = malloc(pointers * sizeof(char *) + (size_t)scratch * sizeof(int) +
                           (path ? candidates_size(path, program) : 0));
    if (!vectors->argv)
        return -ENOMEM;
    at = vectors->envp = point(vectors->argv, argv);
    at = at ? point(at, env) : NULL;
    if (!at) {
        sid_free_vectors(vectors);
        return -EINVAL;
    }
    vectors->scratch = (int *)at;
    vectors->paths = program;
    vectors->path_count = 1;
    if (path) {
        char *room = (char *)(vectors->scratch + scratch);
        vectors->paths = room;
        vectors->path_count = write_candidates(room, path, program);
    }
    return 0;
}

void sid_free_vectors(struct sid_vectors *vectors)
{
    free(vectors->argv);
}
