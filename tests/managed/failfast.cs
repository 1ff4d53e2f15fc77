// SPDX-License-Identifier: MIT
// Ends the process at once, as the runtime does itself when it cannot go on. With "kill" by
// TerminateProcess; with "vanish" by the system call behind it, of which nobody hears.
using System;
using System.Diagnostics;
using System.Runtime.InteropServices;

class FailFast
{
    [DllImport("ntdll.dll")]
    static extern int NtTerminateProcess(IntPtr process, int exitCode);

    static int Main(string[] args)
    {
        Console.WriteLine("failing fast");
        string how = args.Length > 0 ? args[0] : "";
        if (how == "kill")
        {
            Process.GetCurrentProcess().Kill();
        }
        else if (how == "vanish")
        {
            NtTerminateProcess(new IntPtr(-1), 99);
        }
        Environment.FailFast("on purpose");
        return 1;
    }
}
