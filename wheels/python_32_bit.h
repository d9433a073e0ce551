/* The sizes that this machine's pyconfig.h gives are those of 64 bits. */
#include <pyconfig.h>
#undef SIZEOF_LONG
#undef SIZEOF_VOID_P
#undef SIZEOF_SIZE_T
#undef SIZEOF_PTHREAD_T
#undef SIZEOF_UINTPTR_T
#undef SIZEOF_TIME_T
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_PTHREAD_T __SIZEOF_LONG__
#define SIZEOF_UINTPTR_T __SIZEOF_POINTER__
#define SIZEOF_TIME_T __SIZEOF_LONG__ /* glibc's, unless _TIME_BITS says otherwise */
