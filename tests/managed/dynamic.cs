// SPDX-License-Identifier: MIT
// Compiles many small methods at run time and drops them again, and loads its own assembly again
// and again from memory: code heaps, loader heaps, mapped images and the searches for address space
// near the runtime are at work, not the garbage collector alone.
using System;
using System.IO;
using System.Reflection;
using System.Reflection.Emit;

class Dynamic
{
    const int Methods = 2000;
    const int Assemblies = 50;

    delegate int Adder(int value);

    static Adder Emit(int addend)
    {
        var method = new DynamicMethod("add" + addend, typeof(int), new[] { typeof(int) },
            typeof(Dynamic).Module, true);
        var il = method.GetILGenerator();
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Ldc_I4, addend);
        il.Emit(OpCodes.Add);
        il.Emit(OpCodes.Ret);
        return (Adder)method.CreateDelegate(typeof(Adder));
    }

    static byte[] OwnImage()
    {
        using (var file = new FileStream(typeof(Dynamic).Assembly.Location, FileMode.Open,
            FileAccess.Read))
        {
            var image = new byte[file.Length];
            file.Read(image, 0, image.Length);
            return image;
        }
    }

    static int Main()
    {
        int sum = 0;
        for (int i = 0; i < Methods; i++)
        {
            sum += Emit(i)(1) - i;
            if (i % 500 == 0)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        }
        int loaded = 0;
        var image = OwnImage();
        for (int i = 0; i < Assemblies; i++)
        {
            loaded += Assembly.Load(image).GetType("Dynamic") != null ? 1 : 0;
        }
        Console.WriteLine("{0} methods, {1} assemblies", sum, loaded);
        return sum == Methods && loaded == Assemblies ? 42 : 1;
    }
}
