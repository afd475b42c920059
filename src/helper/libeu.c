/*
 * What the libelf.a of elfutils 0.192 (Debian 13) calls and doesn't have: search trees, which are in a library of elfutils'
 * own that nobody else gets. build.rs links this only where it is missing. Of the tree, libelf allocates the root and a lock
 * behind it; the lock isn't taken here, as agentsh-helper uses an ELF file from one thread.
 */
#define _GNU_SOURCE
#include <search.h>

struct tree {
	void *root;
};

typedef int comparison(const void *, const void *);

void eu_search_tree_init(struct tree *tree)
{
	tree->root = 0;
}

void eu_search_tree_fini(struct tree *tree, void (*free_node)(void *))
{
	tdestroy(tree->root, free_node);
	tree->root = 0;
}

void *eu_tsearch(const void *key, struct tree *tree, comparison *compare)
{
	return tsearch(key, &tree->root, compare);
}

void *eu_tfind(const void *key, struct tree *tree, comparison *compare)
{
	return tfind(key, &tree->root, compare);
}

void *eu_tdelete(const void *key, struct tree *tree, comparison *compare)
{
	return tdelete(key, &tree->root, compare);
}
