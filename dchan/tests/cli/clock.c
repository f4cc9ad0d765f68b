// Stands before the clocks of a process: each is ahead by as many seconds as a file says.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long seconds_in(const char *variable) {
    char said[32] = {0};
    const char *path = getenv(variable);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) {
        return 0;
    }
    long read_bytes = read(file, said, sizeof said - 1);
    close(file);
    return read_bytes > 0 ? atol(said) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += seconds_in("TEST_WALL_CLOCK");
    } else if (result == 0 && clock == CLOCK_MONOTONIC) {
        now->tv_sec += seconds_in("TEST_STEADY_CLOCK");
    }
    return result;
}
