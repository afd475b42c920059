// Mounts the cgroup file system anew in namespaces of its own, where its own cgroup is the root: anew DIRECTORY NAME…
//
// Prints whether that went, then for each NAME what the kernel says to `max` being written there, or to making a cgroup of
// that name if it ends with a slash. Without any it stays, with no capability left by which it could be told.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int failed = fd < 0 || write(fd, text, strlen(text)) < 0;
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return failed;
}

static const char *answer(int failed)
{
	return failed ? strerror(errno) : "went";
}

static void stay(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	for (int cap = 0; cap < 64; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	syscall(SYS_capset, &header, none);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	char map[64], path[256];
	int ids[2] = { getuid(), getgid() };
	int failed = unshare(CLONE_NEWUSER);

	put("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %d 1", ids[0]);
	failed = failed || put("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %d 1", ids[1]);
	failed = failed || put("/proc/self/gid_map", map);
	failed = failed || unshare(CLONE_NEWNS | CLONE_NEWCGROUP);
	failed = failed || mount("none", argv[1], "cgroup2", 0, NULL);
	printf("mount: %s\n", answer(failed));
	for (int i = 2; i < argc; i++) {
		snprintf(path, sizeof(path), "%s/%s", argv[1], argv[i]);
		failed = path[strlen(path) - 1] == '/' ? mkdir(path, 0755) : put(path, "max");
		printf("%s: %s\n", argv[i], answer(failed));
	}
	if (argc == 2 && !failed)
		stay();
	return 0;
}
