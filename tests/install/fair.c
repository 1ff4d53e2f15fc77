/* SPDX-License-Identifier: MIT
 *
 * A DLL in which pe_check finds nothing wrong. With one SPOILT_… or one linker flag it is built once
 * more for each fault that pe_check has to find.
 */
struct fair_vtbl {
    void (*method)(void);
};

static void fair_method(void)
{
}

#ifdef SPOILT_VTABLE
struct fair_vtbl fair_vtbl = {fair_method};
#else
const struct fair_vtbl fair_vtbl = {fair_method};
#endif

#ifdef SPOILT_SECTION
__asm__(".section .both,\"wx\"\n.long 0\n.text\n");
#endif

const struct fair_vtbl *fair(void);
const struct fair_vtbl *fair(void)
{
    return &fair_vtbl;
}

#ifdef SPOILT_EXPORT
__declspec(dllexport) int surplus(void);
int surplus(void)
{
    return 1;
}
#endif

#ifdef SPOILT_IMPORT
__declspec(dllimport) int surplus(void);
int use(void);
int use(void)
{
    return surplus();
}
#endif
