/* The program's entry: picks the verb and runs it. */
#include <stdio.h>

int main(int argc, char **argv)
{
    (void)argc;
    fprintf(stderr, "%s: no verbs yet\n", argv[0]);
    return 2;
}
