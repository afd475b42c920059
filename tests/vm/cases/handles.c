// Opens cgroups by their ids, past all mounts: handles DIRECTORY ID…
//
// Prints for each id what the kernel says, as itself and once more with all powers in a user namespace of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct handle {
	unsigned int bytes;
	int type;
	unsigned long long id;
} __attribute__((packed));

// FILEID_KERNFS of include/linux/exportfs.h: eight bytes, the id.
static const int KERNFS = 0xfe;

static void attempt(const char *who, const char *directory, const char *id)
{
	struct handle handle = { .bytes = 8, .type = KERNFS, .id = strtoull(id, NULL, 10) };
	int mount = open(directory, O_RDONLY | O_DIRECTORY);
	int fd = open_by_handle_at(mount, (struct file_handle *)&handle, O_RDONLY | O_DIRECTORY);
	printf("%s %s %s\n", who, id, fd >= 0 ? "opened" : strerror(errno));
	if (fd >= 0)
		close(fd);
	close(mount);
}

int main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		attempt("itself", argv[1], argv[i]);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
		printf("namespace refused %s\n", strerror(errno));
		return 0;
	}
	for (int i = 2; i < argc; i++)
		attempt("namespace", argv[1], argv[i]);
	return 0;
}
