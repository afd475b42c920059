// Forges agentsh's marks on cgroups: marks DIRECTORY…
//
// On each every mark there is, as somebody would who wants to be taken for a session of high priority, then with every length
// of what no agentsh writes. Prints what the kernel says to each first one.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

static const char *const names[][2] = {
	{ "user.agentsh.session", "helper" },
	{ "user.agentsh.priority", "high" },
	{ "user.agentsh.leaf", "\377\377\377\377\377\377\377\377" },
	{ "user.agentsh.reserve", "\377\377\377\377\377\377\377\377\377" },
	{ "user.agentsh.swept", "\377\377\377\377\377\377\377\377\377" },
	{ "user.agentsh.news", "\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377" },
	{ "user.agentsh.available", "\377\377\377\377\377\377\377\377" },
	{ "user.agentsh.ahead", "\377\377\377\377\377\377\377\377" },
	{ "user.delegate", "1" },
	{ "trusted.delegate", "1" },
};

int main(int argc, char **argv)
{
	char garbage[512];

	memset(garbage, 0xff, sizeof(garbage));
	for (int i = 1; i < argc; i++) {
		for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
			const char *name = names[n][0], *value = names[n][1];
			int failed = setxattr(argv[i], name, value, strlen(value), 0);

			printf("%s %s\n", name, failed ? strerror(errno) : "set");
			// What only has to be there keeps the value by which it is believed.
			if (n < 2 || n > 7)
				continue;
			for (size_t length = 0; length <= 256; length += 8)
				setxattr(argv[i], name, garbage, length, 0);
		}
	}
	return 0;
}
