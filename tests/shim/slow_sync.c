/* Preloaded into a process under test: makes each sync of file data slow, or fail, or counts it.
 *
 *   SLOW_SYNC_MS     milliseconds that each sync takes longer
 *   SLOW_SYNC_FILE   the same, while a file of this name exists and has such a number in it
 *   FAIL_SYNC_FILE   while a file of this name exists, each sync fails with EIO and syncs nothing
 *   COUNT_SYNC_FILE  each sync adds a byte to this file: `d` for fdatasync, `f` for fsync
 *
 * Build: cc -shared -fPIC -O1 -o slow_sync.so slow_sync.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void rest_for(long ms)
{
    struct timespec rest = { ms / 1000, (ms % 1000) * 1000000L };
    while (nanosleep(&rest, &rest) == -1 && errno == EINTR)
        ;
}

static long number_in(const char *name)
{
    char text[16] = "";
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) < 0)
        abort();
    close(file);
    return atol(text);
}

static int sync_with(const char *name, int fd)
{
    const char *delay = getenv("SLOW_SYNC_MS");
    const char *slow = getenv("SLOW_SYNC_FILE");
    const char *fail = getenv("FAIL_SYNC_FILE");
    const char *count = getenv("COUNT_SYNC_FILE");
    if (delay)
        rest_for(atol(delay));
    if (slow)
        rest_for(number_in(slow));
    if (count) {
        int log = open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log < 0 || write(log, name[1] == 'd' ? "d" : "f", 1) != 1)
            abort();
        close(log);
    }
    if (fail && access(fail, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fdatasync(int fd)
{
    return sync_with("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_with("fsync", fd);
}
