/* A program that only exits, with libc. */
int main(void)
{
    return 0;
}
