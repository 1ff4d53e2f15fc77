// SPDX-License-Identifier: MIT
// Starts a program, waits for it, and returns its exit code and 10.
//
// spawn [ansi] PROGRAM [ARGUMENTS]: by CreateProcessA, as a native library may
using System;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

class Spawn
{
    [DllImport("kernel32", CharSet = CharSet.Ansi, ExactSpelling = true)]
    static extern bool CreateProcessA(string program, StringBuilder commandLine, IntPtr process,
        IntPtr thread, bool inherit, uint flags, IntPtr environment, string folder, byte[] startup,
        [Out] IntPtr[] information);

    [DllImport("kernel32")]
    static extern uint WaitForSingleObject(IntPtr handle, uint milliseconds);

    [DllImport("kernel32")]
    static extern bool GetExitCodeProcess(IntPtr process, out int code);

    // STARTUPINFOA begins with its size, PROCESS_INFORMATION with the process.
    static int RunAnsi(string commandLine)
    {
        var startup = new byte[IntPtr.Size == 8 ? 104 : 68];
        var information = new IntPtr[4];
        int code = 0;
        startup[0] = (byte)startup.Length;
        CreateProcessA(null, new StringBuilder(commandLine), IntPtr.Zero, IntPtr.Zero, true, 0,
            IntPtr.Zero, null, startup, information);
        WaitForSingleObject(information[0], uint.MaxValue);
        GetExitCodeProcess(information[0], out code);
        return code;
    }

    static int Run(string program, string arguments)
    {
        var start = new ProcessStartInfo(program, arguments);
        start.UseShellExecute = false;
        using (var process = Process.Start(start))
        {
            process.WaitForExit();
            return process.ExitCode;
        }
    }

    static int Main(string[] args)
    {
        string rest = string.Join(" ", args, 1, args.Length - 1);
        return 10 + (args[0] == "ansi" ? RunAnsi(rest) : Run(args[0], rest));
    }
}
