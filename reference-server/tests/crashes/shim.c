/*
 * Between `wst` and libc, by LD_PRELOAD: what the program does to the files below CRASH_ROOT is written down in
 * the order in which it is done (CRASH_LOG), made to fail on demand, and the wall clock is moved (CRASH_CONTROL).
 *
 * Every operation and its line in the log are one step under a mutex, so that the order of the log is the order in
 * which the file system saw it. The files of SQLite's shared memory are mapped, not written, and are rebuilt after
 * a crash: they fail like others and are not in the log. `shim.rs` reads the log and turns the knobs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The knobs, in the order of `Knob` in shim.rs. */
struct control {
    _Atomic uint64_t fail_at; /* the number of the operation that fails; 0: none */
    _Atomic uint64_t how;     /* ONCE, FROM_THERE_ON, CUT_SHORT, KILLED */
    _Atomic uint64_t error;
    _Atomic uint64_t seen;   /* operations so far */
    _Atomic uint64_t failed; /* and those that failed */
    _Atomic int64_t seconds; /* added to the wall clock */
};
enum { ONCE, FROM_THERE_ON, CUT_SHORT, KILLED };
enum { START = 1, OPEN, CLOSE, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR, DUP, TOLD };
enum { CREATED = 1, EMPTIED = 2, FILES = 4096 };
enum { NOT_OURS, OURS, SHARED_MEMORY };

static struct control nobody, *control = &nobody;
static const char *root;
static size_t root_length;
static int log_fd = -1;
static char kinds[FILES];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static int is_ours(const char *path) {
    return root && path && strncmp(path, root, root_length) == 0;
}

static int kind_of(int fd) {
    return fd >= 0 && fd < FILES ? kinds[fd] : NOT_OURS;
}

static void note(uint32_t what, int32_t fd, int64_t at, const void *first, size_t first_length, const void *second,
                 size_t second_length) {
    if (log_fd < 0) return;
    struct {
        uint32_t what;
        int32_t fd;
        int64_t at;
        uint32_t first, second;
    } head = {what, fd, at, first_length, second_length};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)first, first_length}, {(void *)second, second_length}};
    ssize_t all = sizeof head + first_length + second_length;
    if (syscall(SYS_writev, log_fd, parts, 3) != all) abort();
}

/* Counts an operation; says with which error it fails, or 0. `*part` is how much of a write is done before. */
static int fault(size_t *part) {
    uint64_t number = ++control->seen, at = control->fail_at, how = control->how;
    if (!at || number < at || (how == ONCE && number > at)) return 0;
    control->failed++;
    if (how == KILLED) kill(getpid(), SIGKILL);
    if (how == CUT_SHORT && number == at && part && *part > 1) {
        *part /= 2;
        return 0;
    }
    return control->error;
}

#define FAIL(part)                                                                                                      \
    do {                                                                                                               \
        int error = fault(part);                                                                                       \
        if (error) {                                                                                                   \
            pthread_mutex_unlock(&order);                                                                              \
            errno = error;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

static int opened(const char *path, int flags, mode_t mode) {
    int (*open_file)(const char *, int, ...) = REAL(open64);
    if (!is_ours(path)) return open_file(path, flags, mode);
    pthread_mutex_lock(&order);
    int is_shared_memory = strstr(path, "-shm") != NULL;
    int is_new = faccessat(AT_FDCWD, path, F_OK, 0) != 0;
    FAIL(NULL);
    int fd = open_file(path, flags, mode);
    if (fd >= FILES) abort();
    if (fd >= 0) {
        int what = (is_new ? CREATED : 0) | (flags & O_TRUNC ? EMPTIED : 0);
        kinds[fd] = is_shared_memory ? SHARED_MEMORY : OURS;
        if (!is_shared_memory) note(OPEN, fd, what, path, strlen(path), NULL, 0);
    }
    int error = errno;
    pthread_mutex_unlock(&order);
    errno = error;
    return fd;
}

#define OPEN_BODY(path, flags)                                                                                         \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                            \
    va_end(rest)
int open(const char *path, int flags, ...) {
    OPEN_BODY(path, flags);
    return opened(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    OPEN_BODY(path, flags);
    return opened(path, flags, mode);
}

int close(int fd) {
    if (kind_of(fd)) {
        pthread_mutex_lock(&order);
        if (kinds[fd] == OURS) note(CLOSE, fd, 0, NULL, 0, NULL, 0);
        kinds[fd] = NOT_OURS;
        pthread_mutex_unlock(&order);
    }
    return REAL(close)(fd);
}

static int duplicated(int fd, int copy) {
    if (copy >= 0 && kind_of(fd)) {
        pthread_mutex_lock(&order);
        kinds[copy] = kinds[fd];
        if (kinds[fd] == OURS) note(DUP, fd, copy, NULL, 0, NULL, 0);
        pthread_mutex_unlock(&order);
    }
    return copy;
}
#define FCNTL(name)                                                                                                    \
    int name(int fd, int command, ...) {                                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, command);                                                                                       \
        void *argument = va_arg(rest, void *);                                                                         \
        va_end(rest);                                                                                                  \
        int done = REAL(fcntl64)(fd, command, argument);                                                               \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, done) : done;                         \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* What clients and terminals are told, written down before they are. */
static void told(int fd, const struct iovec *parts, int count) {
    static const char answer[] = "HTTP/1.1 ";
    if (log_fd < 0 || count < 1) return;
    if (fd != 1 && (parts[0].iov_len < sizeof answer - 1 || memcmp(parts[0].iov_base, answer, sizeof answer - 1)))
        return;
    pthread_mutex_lock(&order);
    note(TOLD, fd, 0, parts[0].iov_base, parts[0].iov_len, count > 1 ? parts[1].iov_base : NULL,
         count > 1 ? parts[1].iov_len : 0);
    pthread_mutex_unlock(&order);
}

static ssize_t written(int fd, const void *data, size_t length, off_t at) {
    pthread_mutex_lock(&order);
    FAIL(&length);
    /* What is appended goes to the end, wherever the file was read last. */
    int from = REAL(fcntl64)(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR;
    off_t place = at < 0 ? lseek(fd, 0, from) : at;
    ssize_t done = at < 0 ? REAL(write)(fd, data, length) : REAL(pwrite64)(fd, data, length, at);
    if (done > 0 && kinds[fd] == OURS) note(WRITE, fd, place, data, done, NULL, 0);
    int error = errno;
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}
ssize_t write(int fd, const void *data, size_t length) {
    if (kind_of(fd)) return written(fd, data, length, -1);
    struct iovec part = {(void *)data, length};
    told(fd, &part, 1);
    return REAL(write)(fd, data, length);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    return kind_of(fd) ? written(fd, data, length, at) : REAL(pwrite64)(fd, data, length, at);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    return pwrite64(fd, data, length, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (kind_of(fd)) abort();
    told(fd, parts, count);
    return REAL(writev)(fd, parts, count);
}
ssize_t send(int fd, const void *data, size_t length, int flags) {
    struct iovec part = {(void *)data, length};
    told(fd, &part, 1);
    return REAL(send)(fd, data, length, flags);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    told(fd, message->msg_iov, message->msg_iovlen);
    return REAL(sendmsg)(fd, message, flags);
}

static int synced(int fd, int (*sync)(int)) {
    if (!kind_of(fd)) return sync(fd);
    pthread_mutex_lock(&order);
    FAIL(NULL);
    int done = sync(fd);
    if (done == 0 && kinds[fd] == OURS) note(SYNC, fd, 0, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return done;
}
int fsync(int fd) {
    return synced(fd, REAL(fsync));
}
int fdatasync(int fd) {
    return synced(fd, REAL(fdatasync));
}

int ftruncate64(int fd, off64_t length) {
    if (!kind_of(fd)) return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&order);
    FAIL(NULL);
    int done = REAL(ftruncate64)(fd, length);
    if (done == 0 && kinds[fd] == OURS) note(TRUNCATE, fd, length, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return done;
}
int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

/* One name or two are changed. */
#define NAMED(what, first, second, call)                                                                               \
    do {                                                                                                               \
        if (!is_ours(first)) return call;                                                                              \
        pthread_mutex_lock(&order);                                                                                    \
        FAIL(NULL);                                                                                                    \
        int done = call, failure = errno;                                                                              \
        const char *other = second;                                                                                    \
        if (done == 0) note(what, -1, 0, first, strlen(first), other, other ? strlen(other) : 0);                      \
        pthread_mutex_unlock(&order);                                                                                  \
        errno = failure;                                                                                               \
        return done;                                                                                                   \
    } while (0)
int rename(const char *from, const char *to) {
    NAMED(RENAME, from, to, REAL(rename)(from, to));
}
int link(const char *from, const char *to) {
    NAMED(LINK, from, to, REAL(link)(from, to));
}
int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    NAMED(LINK, from, to, REAL(linkat)(from_fd, from, to_fd, to, flags));
}
int unlink(const char *path) {
    NAMED(UNLINK, path, NULL, REAL(unlink)(path));
}
int mkdir(const char *path, mode_t mode) {
    NAMED(MKDIR, path, NULL, REAL(mkdir)(path, mode));
}

/* The time of everybody in the process: the kernel's, moved. Called in the place of the vDSO's function. */
static int moved_clock(clockid_t clock, struct timespec *time) {
    long done = syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += control->seconds;
    return done;
}

/* The program asks the vDSO without libc, so that the function itself is overwritten with a jump. */
static void move_clock(void) {
#ifdef __x86_64__
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
    unsigned char *code = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
    if (!code) return;
    unsigned char jump[] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0}; /* mov rax, ADDRESS; jmp rax */
    uintptr_t target = (uintptr_t)moved_clock, page = (uintptr_t)code & ~4095ul;
    memcpy(jump + 2, &target, sizeof target);
    if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) &&
        mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
        return;
    memcpy(code, jump, sizeof jump);
#endif
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CRASH_CONTROL"), *log = getenv("CRASH_LOG");
    int (*open_file)(const char *, int, ...) = REAL(open64);
    if (path) {
        int fd = open_file(path, O_RDWR | O_CLOEXEC);
        void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) abort();
        control = map;
        REAL(close)(fd);
    }
    if (log) {
        int fd = open_file(log, O_WRONLY | O_APPEND | O_CLOEXEC);
        log_fd = fcntl64(fd, F_DUPFD_CLOEXEC, 900);
        if (log_fd < 0) abort();
        REAL(close)(fd);
        note(START, -1, 0, NULL, 0, NULL, 0);
    }
    root = getenv("CRASH_ROOT");
    root_length = root ? strlen(root) : 0;
    if (getenv("CRASH_CLOCK")) move_clock();
}
